"""The command that finds trial settings."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from seal_ray.cli.options import AsJson, Overlays, Overrides, Quiet
from seal_ray.cli.output import lines, say, width
from seal_ray.errors import writing
from seal_ray.plain import WIDTH
from seal_ray.types import UserError


def tune(
    config: str,
    *overrides: Overrides,
    overlay: Overlays = (),
    trials: int = 60,
    axes: str = "",
    on: Literal["auto", "passage", "self-edits"] = "auto",
    write: str = "",
    into: str = "",
    force: bool = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find trial settings that fit the model and the domain, on training tasks alone. Stopped, it goes on.

    Parameters
    ----------
    config
        A TOML file, such as jobs/microworld.toml; its own settings are where the search starts.
    trials
        About how many to train: more try more settings, each on more tasks.
    axes
        What to turn, of rank, alpha (in multiples of the rank), targets, lr, epochs and batch_size; with the usual
        values, or your own, as in "rank lr=5e-4,1e-3 targets=q_proj+v_proj,all-linear". Empty: all of them.
    on
        What trials train on: self-edits that the base writes, or the passage alone. `auto`: self-edits, where the run
        has any written.
    write
        A file for the settings that were found, which `--overlay` takes.
    into
        The directory of the trials; empty: that of the run, with `-tune` after it.
    force
        If the directory holds trials of another config, move that aside (it is never deleted).
    """
    from seal_ray.config import load
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.tuning import tune as search
    from seal_ray.tuning.account import OVERLAY

    tree = load(config, overrides, overlay)
    if write and Path(write).exists() and not Path(write).read_bytes().startswith(OVERLAY.encode()):
        raise UserError(f"--write {write}: is there already, and not from here; name another file")
    start_log(quiet)
    found = search(tree, progress(quiet), trials=trials, axes=axes, on=on, into=into, force=force)
    lines([json.dumps(found.as_json())] if as_json else [*found.lines(width() or WIDTH), "", found.overlay.rstrip()])
    if write:
        with writing(f"--write {write}"):
            Path(write).write_text(found.overlay, encoding="utf-8")
        overlays = [word for each in (*overlay, write) for word in ("--overlay", each)]
        say(f"{write}: {shlex.join(['seal-ray', 'run', config, *overlays, *_beside(found.overlay, overrides)])}")


def _beside(found: str, overrides: Sequence[str]) -> Iterator[str]:
    """The given settings, without those that were tuned: on the command line they would outdo the overlay."""
    from seal_ray.config.tree import flat
    from seal_ray.reading import overriding

    tuned, words = dict(flat(tomllib.loads(found))), iter(overrides)
    for keys, _ in overriding(overrides):
        flag = next(words)
        given = [flag] if "=" in flag else [flag, next(words)]
        if ".".join(keys) not in tuned:
            yield from given
