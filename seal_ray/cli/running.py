"""Runs: begun, continued, done again, and every method of learning a text beside the others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seal_ray.cli.learning import tell
from seal_ray.cli.options import AsJson, Overlays, Overrides, Quiet
from seal_ray.cli.output import page_when_stopped, report_page, say, show
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.settling import Settled


def run_and_show(config: Any, quiet: bool, as_json: bool, force: bool = False, beside: str = "") -> None:
    """Do what is missing of a run, and print what came of it."""
    from seal_ray.loop.run import run
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.record.summary import refuse_void

    start_log(quiet)
    with page_when_stopped(config.dir):
        summary = run(config, progress(quiet), force=force, beside=beside)
    show(summary, as_json, config.dir)
    say(f"run: {config.dir}   report: {report_page(config.dir)}")
    refuse_void(summary)


def run(
    config: str,
    *overrides: Overrides,
    overlay: Overlays = (),
    beside: str = "",
    dry_run: bool = False,
    force: bool = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do a run, or continue the one in its directory.

    Parameters
    ----------
    config
        A TOML file, such as jobs/microworld.toml.
    beside
        Another run's directory: what it has done already, and this one would do the very same way, is taken from there,
        such as the first round of a control.
    dry_run
        Print what the config resolves to, look at all that it names but what is on the hub, and start nothing.
    force
        If the directory holds a run with another config, move that aside (it is never deleted).
    """
    from seal_ray import config as configs

    tree = configs.load(config, overrides, overlay)
    if beside:
        from seal_ray.rundir.directory import recorded_config

        if recorded_config(beside).run.seed != tree.run.seed:
            raise UserError(f"--beside {beside}: it has another seed, so nothing that this run would do the same way")
    if dry_run:
        from seal_ray.loop.preflight import look

        say(look(tree, _print_resolved))
        return
    run_and_show(tree, quiet, as_json, force, beside)


def _print_resolved(found: Settled) -> None:
    """The whole config, with its directory and options spelled out, and what was settled of it."""
    from seal_ray.domains.registry import spelled_out
    from seal_ray.reading import json_text

    config = found.config
    print(json_text(spelled_out(replace(config, run=replace(config.run, dir=config.dir)))), flush=True)
    for line in found.lines:
        say(line)


def resume(dir: str, *overrides: Overrides, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Continue a run as it was begun; other `--workers`, `--run.observers` and `--run.logs` may be given."""
    from seal_ray.config import adjusted
    from seal_ray.domains.registry import learns
    from seal_ray.learning.learn import continued
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.rundir.tuned import config_of_run

    config = adjusted(config_of_run(dir), overrides)
    if learns(config):
        start_log(quiet)
        tell(dir, continued(dir, progress(quiet), settings=overrides, say=say), as_json)
    else:
        run_and_show(config, quiet, as_json)


def demo(
    *overrides: Overrides,
    seed: int = 1,
    dir: str = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Watch a small model learn to write better notes to itself, in minutes, on this machine.

    Parameters
    ----------
    seed
        Of the people, the sampling and the training.
    dir
        Where the run goes; empty: runs/demo-SEED.
    """
    from seal_ray.cli.demo import run_demo
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.record.summary import refuse_void

    start_log(quiet)
    target = dir or f"runs/demo-{seed}"
    with page_when_stopped(target):
        summary = run_demo(seed, target, progress(quiet), progress(quiet), overrides)
    show(summary, as_json)
    say(f"report: {report_page(target)}")
    refuse_void(summary)


def methods(
    config: str,
    *overrides: Overrides,
    only: str = "",
    texts: str = "",
    budgets: str = "",
    trained_budgets: str = "",
    joint: bool = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Learn the same texts by several methods, and print them side by side; what is on record is not done again.

    Parameters
    ----------
    config
        A TOML file, such as jobs/methods.toml.
    only
        The methods to measure, with commas between; those of the file when left out. `external:FOLDER` is an adapter
        from elsewhere, a PEFT folder.
    texts
        How many texts each may have written of a passage, with commas between.
    budgets
        Tokens that each may have written of a passage, with commas between: as many texts as stay within them.
    trained_budgets
        Tokens that each may train on of a passage, over all epochs, with commas between: as many texts as fit.
    joint
        Measure each also with one adapter for all passages at once.
    """
    from seal_ray.config import load
    from seal_ray.reading import overriding

    more = ["--evaluation.methods", json.dumps([_named(name.strip()) for name in only.split(",")])] if only else []
    for name, said in (("texts", texts), ("budgets", budgets), ("trained-budgets", trained_budgets)):
        more += [f"--evaluation.{name}", _numbers(f"--{name}", said)] if said else []
    more += ["--evaluation.joint-methods", "true"] if joint else []
    tuple(overriding(overrides))  # a setting that lacks its value would take the next one's name for it
    found = load(config, [*overrides, *more])
    if not found.evaluation.methods:
        raise UserError(f"{config}: names no method; give some with --only, see docs/methods.md")
    run_and_show(found, quiet, as_json)


def again(manifest: str, *overrides: Overrides, into: str = "", quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Do a run once more as its manifest says, and say whether the same came of it.

    Parameters
    ----------
    manifest
        The manifest.json of a run's directory, or that directory; other `--workers` and `--run.observers` may be given.
    into
        The directory; empty: that of the run, with -again.
    """
    from seal_ray.loop.again import run_again
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.plain import counted
    from seal_ray.record.summary import refuse_void

    start_log(quiet)
    found = run_again(manifest, into, overrides, (progress(quiet),))
    show(found.summary, as_json, found.directory)
    same = "the first run is not beside its manifest, so nothing was held against it"
    if found.trials:
        of = f"{found.trials - len(found.unlike)} of {counted(found.trials, 'trial')}"
        same = f"{of} came to the very reward of the first run"
    if found.not_asked:
        same += f"; {found.not_asked} more of it are of what its last command did not ask for"
    say(f"run: {found.directory}   report: {report_page(found.directory)}   {same}")
    refuse_void(found.summary)


def _numbers(option: str, said: str) -> str:
    """A list of a config."""
    try:
        return json.dumps([int(number) for number in said.split(",")])
    except ValueError:
        raise UserError(f"{option} {said}: give whole numbers with commas between, such as 1,5,27") from None


def _named(method: str) -> str:
    """A method; the folder of an adapter from elsewhere starts where the command is given."""
    from seal_ray.methods.base import EXTERNAL, folder_of

    folder = folder_of(method)
    return f"{EXTERNAL}{folder.expanduser().absolute()}" if folder else method
