"""How a config is read: files, overlays and overrides, each wrong key named with where it was said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seal_ray import plugins
from seal_ray.config.sections import NO_PRESET
from seal_ray.config.tree import Config, flat
from seal_ray.reading import (
    COMMAND_LINE,
    EXTENDS,
    Misfit,
    Wrong,
    as_tree,
    file_layers,
    merged,
    overriding,
    put,
    said_by,
    typed,
)
from seal_ray.record.schema import RENAMED
from seal_ray.sources import anchor, at
from seal_ray.types import UserError


def load(path: str | Path, overrides: Sequence[str] = (), overlays: Sequence[str | Path] = ()) -> Config:
    """Read a TOML file with all that it extends, lay overlays on it, and apply `--section.key value` overrides.

    `UserError` says what is wrong and where.
    """
    from seal_ray.domains.registry import paths_under  # which options are paths, only their owners know

    layers = file_layers(path)
    for overlay in overlays:
        layers += file_layers(overlay)
    plugins.beside(layer.folder for layer in reversed(layers))
    given = list(overriding(overrides))
    paths = paths_under([*(layer.tree for layer in layers), *(put({}, keys, value) for keys, value in given)])
    for layer in layers:
        anchor(layer.tree, paths, layer.folder)
    tree = merged(layer.tree for layer in layers)
    for keys, value in given:
        own = put({}, keys, value)
        anchor(own, paths, Path.cwd())
        put(tree, keys, at(own, keys))
    _note_what_is_said(tree)
    return _parse(tree, lambda keys: said_by(layers, keys, [override for override, _ in given]))


def _note_what_is_said(tree: dict[str, Any]) -> None:
    """For a preset, which goes below what is said: once it is a `Config`, a default looks like what was not."""
    trial = tree.get("trial")
    if isinstance(trial, dict) and trial.get("preset", NO_PRESET) != NO_PRESET:
        said = {section: tree[section] for section in ("trial", "sampling") if section in tree}
        trial["preset_leaves"] = [*trial.get("preset_leaves", ()), *(key for key, _ in flat(said))]


def parse(tree: dict[str, Any], where: str) -> Config:
    """A tree as a `Config`, or a `UserError` naming every wrong key."""
    return _parse(tree, lambda _: where)


def adjusted(config: Config, overrides: Sequence[str]) -> Config:
    """A run's config with other workers, observers, logs or patience; what decides its results stays as it was."""
    for keys, value in overriding(overrides):
        found = parse(put(as_tree(config), keys, value), COMMAND_LINE)
        if found.identity() != config.identity() or found.run.dir != config.run.dir:
            name = ".".join(keys)
            raise UserError(f"--{name}: a run goes on as it was begun; for another {name}, begin another with `run`")
        config = found
    return config


def _parse(tree: dict[str, Any], where: Callable[[Sequence[Any]], str]) -> Config:
    try:
        return typed(Config, tree)
    except Misfit as error:
        raise UserError("; ".join(f"{where(wrong.keys)}: {_explain(wrong)}" for wrong in error.wrong)) from None


def _explain(wrong: Wrong) -> str:
    path = ".".join(map(str, wrong.keys))
    if wrong.unknown and (new := RENAMED.get(path)):
        return f"{path!r} is called {new!r} now"
    return wrong.explained(Config, also=() if len(wrong.keys) > 1 else (EXTENDS,))
