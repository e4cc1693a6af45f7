"""The command `seal-ray`. Commands import what they need when they run, so `--help` answers at once."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import App, Parameter

import seal_ray
from seal_ray.cli.adapters import adapters
from seal_ray.cli.learning import advise, ask, chat, learn, tell
from seal_ray.cli.looking import compare, explain, ls, watch
from seal_ray.cli.models import export, serve
from seal_ray.cli.options import AsJson, Overlays, Overrides
from seal_ray.cli.output import facts, page_when_stopped, report_page, say, show
from seal_ray.cli.running import again, methods, run_and_show
from seal_ray.cli.tuning import tune
from seal_ray.errors import DEBUG, said_in_one_line
from seal_ray.plain import visible
from seal_ray.stopping import PROMISE
from seal_ray.types import UserError

_CONTINUED = ("run", "resume", "demo", "learn", "methods", "tune", "again")
"""Commands that go on where they were stopped."""

app = App(
    name="seal-ray",
    help="A language model writes its own finetuning data, and learns to write it better.\n\n"
    f"What is to be set right is said in one line; with {DEBUG}, with the traceback of where it was found.",
    version=seal_ray.__version__,
    help_format="plaintext",  # markdown would double the time to answer
    suppress_keyboard_interrupt=False,  # what stops a command is said in `main`
)
app.register_install_completion_command(add_to_startup=False)
app.command(learn)
app.command(advise)
app.command(ask)
app.command(chat)
app.command(serve)
app.command(export)
app.command(ls)
app.command(watch)
app.command(compare)
app.command(explain)
app.command(methods)
app.command(tune)
app.command(again)
app.command(adapters)


@app.command
def run(
    config: str,
    *overrides: Overrides,
    overlay: Overlays = (),
    dry_run: bool = False,
    force: bool = False,
    quiet: bool = False,
    as_json: AsJson = False,
) -> None:
    """Do a run, or continue the one in its directory.

    Parameters
    ----------
    config
        A TOML file, such as jobs/microworld.toml.
    dry_run
        Print what the config resolves to, look at all that it names but what is on the hub, and start nothing.
    force
        If the directory holds a run with another config, move that aside (it is never deleted).
    quiet
        No progress.
    """
    from seal_ray import config as configs

    tree = configs.load(config, overrides, overlay)
    if dry_run:
        from seal_ray.domains.registry import spelled_out
        from seal_ray.loop.preflight import check, look
        from seal_ray.reading import json_text
        from seal_ray.settling import settle

        check(tree)
        found = settle(tree, ask_hub=False)
        lives = replace(found.config, run=replace(tree.run, dir=tree.dir))
        print(json_text(spelled_out(lives)), flush=True)
        for line in (*found.said, *([found.open] if found.open else ())):
            say(line)
        say(look(tree))
        return
    run_and_show(tree, quiet, as_json, force)


@app.command
def init(job: str = "documents", dir: str = ".") -> None:
    """Write a config to start from, with what it needs beside it; every file is yours to edit.

    Parameters
    ----------
    job
        One that ships, such as documents, knowledge, arc or microworld; a name that none has lists them all.
    dir
        The folder to write it into.
    """
    from pathlib import Path

    from seal_ray.cli import shipped

    config, *others = shipped.copy(job, Path(dir))
    beside = f" (beside it: {', '.join(other.name for other in others)})" if others else ""
    say(f"{config}{beside}: edit it, then `seal-ray run {config} --dry-run` says what is missing")


@app.command
def resume(dir: str, *overrides: Overrides, quiet: bool = False, as_json: AsJson = False) -> None:
    """Continue a run as it was begun; other `--workers`, `--run.observers` and `--run.logs` may be given."""
    from seal_ray.config import adjusted
    from seal_ray.learning.learn import continued, learns
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.rundir.directory import recorded_config
    from seal_ray.rundir.tuned import refuse_tuned

    config = adjusted(recorded_config(dir), overrides)
    refuse_tuned(dir, config)
    if learns(config):
        start_log(quiet)
        tell(dir, continued(dir, progress(quiet), settings=overrides, say=say), as_json)
    else:
        run_and_show(config, quiet, as_json)


@app.command(name="eval")
def evaluate(dir: str, *others: str, oracle: bool = False, quiet: bool = False, as_json: AsJson = False) -> None:
    """Show a run's held-out accuracy per baseline and round, with 95 % intervals.

    Parameters
    ----------
    others
        Runs of other seeds; the tasks of all are taken together.
    oracle
        Where self-edits are decisions: also try all of them on the held-out tasks, and show the best. This takes long.
    quiet
        No progress.
    """
    from seal_ray.learning.account import known_here
    from seal_ray.learning.learn import learns
    from seal_ray.record.journal import Journal
    from seal_ray.record.storage import Store
    from seal_ray.record.summary import refuse_void, summarize
    from seal_ray.rundir.directory import recorded_config
    from seal_ray.rundir.tuned import refuse_tuned

    if not others and learns(recorded_config(dir)):
        tell(dir, known_here(dir), as_json)
        return
    if oracle and others:
        raise UserError("--oracle searches one run's tasks at a time: give one directory")
    every = (dir, *others)
    configs = [recorded_config(each) for each in every]
    for each, config in zip(every, configs, strict=True):
        refuse_tuned(each, config)
    seeds = [config.run.seed for config in configs]
    if twice := {seed for seed in seeds if seeds.count(seed) > 1}:
        raise UserError(
            f"more than one of these runs has seed {min(twice)}, and runs of one seed are measured on the same tasks, "
            "which would count twice; give runs of different seeds, or one run at a time"
        )
    summary = summarize(*(Journal(Store(each)) for each in every))
    if oracle:
        from seal_ray.loop.oracle import oracle as search
        from seal_ray.observe.progress import progress, start_log

        start_log(quiet)
        found = search(dir, progress(quiet))
        summary |= found.arms()
        for line in found.lines():
            say(line)
    show(summary, as_json, *every)
    refuse_void(summary)


@app.command
def demo(
    *overrides: Overrides,
    seed: int = 1,
    dir: str = "",
    quiet: bool = False,
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


@app.command
def report(dir: str) -> None:
    """Write the report of a run: one self-contained HTML page."""
    print(report_page(dir))


@app.command(name="import")
def import_(record: str, *, into: str) -> None:
    """Carry a recorded round of the published results into a run directory of its own."""
    from seal_ray.published.import_record import import_record

    say(f"{import_record(record, into)} self-edits are in {into}")


@app.command
def repair(dir: str) -> None:
    """Set aside what is damaged in a run's record. Nothing is deleted; continuing the run does again what is lost."""
    from contextlib import closing

    from seal_ray.policy.repair import repair_policies
    from seal_ray.record import repair as repairing
    from seal_ray.record.manifest import FOLDER
    from seal_ray.record.storage import Store

    store = Store(dir)
    if not store.exists(FOLDER):
        raise UserError(f"{dir}: no journal is here")
    with closing(store.lock()):
        said = repairing.repair(store) + repair_policies(store)
    for line in said:
        print(line)
    print(f"`seal-ray resume {dir}` does again what is lost" if said else "nothing is damaged")


@app.command
def grade(
    *, records: str, grader: str = "offline", model: str = "", passages: int = 0, as_json: AsJson = False
) -> None:
    """Hold a grader to recorded verdicts: how often it agrees, beyond chance, and how far rewards shift.

    Parameters
    ----------
    records
        A recorded round, with answers and verdicts.
    grader
        As grading.name says it.
    model
        A model's folder, file or hub name, for the grader "local judge": would it do as a judge?
    passages
        Only the first so many; 0: all.
    """
    from seal_ray.observe.progress import start_log
    from seal_ray.ops.judged import agreement_of

    start_log()
    facts(agreement_of(records, grader, model, passages), as_json)


@app.command
def race(*, records: str = "", simulate: bool = False, as_json: AsJson = False) -> None:
    """What racing saves: on a recorded round's trials, or on simulated ones whose true rewards are known.

    Parameters
    ----------
    records
        A recorded round: what it would have tried, and what it would have given up.
    simulate
        Tasks with the recorded noise: true gain kept with 5 candidates and 15 trials, and with 16 and 48.
    """
    from seal_ray.selection.race_trials import replay, simulations

    if bool(records) == simulate:
        raise UserError("give either --records FILE or --simulate")
    facts(simulations() if simulate else replay(records), as_json)


@app.command
def plan(
    config: str,
    *overrides: Overrides,
    overlay: Overlays = (),
    gpus: int = 0,
    gpu: str = "",
    from_: Annotated[str, Parameter(name="--from")] = "",
    calibrate: bool = False,
    price_per_hour: float | None = None,
    gpus_per_node: int = 8,
    hours_between_losses: float = 0.0,
    replaced_after: float = 300.0,
    as_json: AsJson = False,
) -> None:
    """Predict what a run takes: time by stage, GPU memory, cost, and what holds it up.

    Parameters
    ----------
    config
        A TOML file, such as jobs/knowledge.toml.
    gpus
        How many there will be; 0: as many as the config's workers ask for.
    gpu
        Which, such as h100: its published figures say how long things take.
    from_
        The directory of an earlier run, whose journal says how long things take instead.
    calibrate
        Measure on this machine, for a minute at most, how long things take.
    price_per_hour
        Of one GPU.
    gpus_per_node
        They are lost together.
    hours_between_losses
        Mean time until a given node is lost; 0: none ever is.
    replaced_after
        Seconds until another node is up in its place.
    """
    from seal_ray import config as configs
    from seal_ray.plan import Hardware, predict, show
    from seal_ray.settling import settle

    tree = settle(configs.load(config, overrides, overlay), ask_hub=False).config
    hardware = Hardware(gpus, gpu, gpus_per_node, price_per_hour, hours_between_losses, replaced_after)
    found = predict(tree, hardware, _basis(tree, from_, calibrate))
    if as_json:
        print(json.dumps(show.as_json(found)))
    else:
        show.print_plan(found)


@app.command
def doctor(config: str = "", *overrides: Overrides, overlay: Overlays = (), as_json: AsJson = False) -> None:
    """Check what a run needs: versions, GPUs, Ray on every node, storage, model, memory. Exit code 2 if it lacks any.

    Parameters
    ----------
    config
        A TOML file; without one, what every run needs.
    """
    from dataclasses import asdict

    from seal_ray import config as configs
    from seal_ray.ops.doctor import examine

    checks = []
    for check in examine(configs.load(config, overrides, overlay) if config else None):
        checks.append(check)
        if not as_json:
            print(visible(check.line), flush=True)
    if as_json:
        print(json.dumps([asdict(check) for check in checks]))
    if not all(check.fine for check in checks):
        sys.exit(2)


def main(argv: list[str] | None = None) -> None:
    """Entry point: one line and exit code 2 for what the user can set right, a traceback for bugs or with --debug."""
    given = list(sys.argv[1:] if argv is None else argv)
    continued = next((argument for argument in given if argument != DEBUG), "") in _CONTINUED
    with said_in_one_line(given, PROMISE if continued else "stopped") as arguments:
        if arguments[:1] == ["run"] and "--help" in arguments:
            _help_with_settings()
        else:
            app(arguments)


def _help_with_settings() -> None:
    from seal_ray.cli import settings

    app.help_print(["run"])
    print(f"Settings, in the TOML file or here:\n\n{settings.as_text()}")


def _basis(config: Any, earlier: str, calibrate: bool) -> Any:
    """Measured rates, when they are asked for."""
    if earlier:
        from seal_ray.plan.predict import basis_from

        return basis_from(earlier, config)
    if calibrate:
        from seal_ray.observe.progress import progress, start_log
        from seal_ray.plan.probe import calibrate as measure

        start_log()
        return measure(config, progress())
    return None
