"""What a choice is worth, held against leaving it out. Each command imports what it needs when it runs."""

from __future__ import annotations

from typing import Literal

from benchmarks.commands.bench import bench, tell
from seal_ray.cli.options import AsJson, Overlays, Overrides, Quiet
from seal_ray.types import UserError


@bench.command
def per_task(
    config: str = "jobs/microworld.toml",
    *overrides: Overrides,
    overlay: Overlays = (),
    settings: int = 12,
    tasks: int = 24,
    axes: str = "",
    on: Literal["auto", "passage", "self-edits"] = "auto",
    into: str = "runs/per-task",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Whether trial settings that are chosen for each task by itself can beat the same ones for all.

    Parameters
    ----------
    config
        A TOML file; its own settings are the start, and its training tasks are what is tried on.
    settings
        How many are tried, each on every task with two seeds.
    tasks
        Training tasks, of those that the base does not solve untrained.
    axes
        What is turned, as with `seal-ray tune`.
    on
        What trials train on, as with `seal-ray tune`.
    into
        The directory of the trials; given again, it goes on with those that are not done.
    """
    from benchmarks.per_task import measure, table
    from seal_ray import config as configs
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    loaded = configs.load(config, overrides, overlay)
    tried, found = measure(loaded, progress(quiet), settings=settings, tasks=tasks, axes=axes, on=on, into=into)
    tell(found, table(tried, found), as_json)


@bench.command
def predictor(*runs: str, rounds_before: bool = False, as_json: AsJson = False) -> None:
    """Replay recorded runs: what leaving out trials by a foreseen reward would have saved, and given up.

    Parameters
    ----------
    runs
        Directories of runs whose rounds were tried.
    rounds_before
        Foresee from the rounds before alone, and not from the tasks before of the same round too.
    """
    from benchmarks.predictor import measure, table

    if not runs:
        raise UserError("give the directories of runs to replay")
    found = measure(runs, rounds_before)
    tell(found, table(found), as_json)


@bench.command
def updates(
    *overrides: Overrides,
    seeds: tuple[int, ...] = (1, 2, 3),
    into: str = "runs/updates",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Hold the rules of the update to one another on the micro-world: the same trials, one round, several seeds.

    Parameters
    ----------
    seeds
        Tasks, self-edits and trials follow from each.
    into
        The folder for the runs; given again, it goes on with those that are not done.
    """
    from benchmarks import updates as by_rule
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = by_rule.updates(seeds, into, overrides, progress(quiet))
    tell(found, by_rule.table(found), as_json)


@bench.command
def makespan(*, lengths: str = "", workers: int = 1, slots: int = 16, seeds: int = 3, as_json: AsJson = False) -> None:
    """Steps that a round takes by the order in which its trials are given out, counted; and how far from the optimum.

    Parameters
    ----------
    lengths
        A recorded round; its texts are as long as these trials' are.
    workers
        Trainers, which are given a trial when they hold fewer than two for each slot.
    slots
        Trials that each trains at once.
    seeds
        Trials of each self-edit.
    """
    from benchmarks.makespan import orders, small, table
    from benchmarks.workload import workload

    work = workload(lengths)
    found, few = orders(work, workers, slots, seeds), small(work)
    tell({"orders": found, "small": few}, table(found, few, work.source), as_json)


@bench.command
def learn(
    *overrides: Overrides,
    model: str = "",
    document: tuple[str, ...] = (),
    into: str = "runs/learning",
    method: str = "",
    texts: int = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Have a model learn documents of invented facts, and ask it ten of each in other words.

    Parameters
    ----------
    model
        A model's folder, file or hub name; empty: that of `seal-ray learn`.
    document
        Names of those in benchmarks/documents; without any, all.
    into
        The folder for what is learnt; given again, it goes on.
    method
        One of those of `seal-ray methods`, as `seal-ray learn` takes them.
    texts
        How many texts the method has written of each passage.
    """
    from benchmarks import learning
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = learning.measure(document, model, into, overrides, progress(quiet), method=method, texts=texts)
    tell(found, learning.table(found), as_json)


@bench.command
def finding(
    run: str, *, lessons: tuple[int, ...] = (), sequence: int = 0, encoder: str = "", as_json: AsJson = False
) -> None:
    """How a library finds the lesson that a question is about: by words, by likelihood, and by an encoder.

    Parameters
    ----------
    run
        The directory of a run that learnt passages in turn by `library`, without rounds.
    lessons
        How many of the first there are to be found among; again for another number; without any, all.
    sequence
        Which order.
    encoder
        The folder or hub name of a sentence encoder; without one it is left out.
    """
    from benchmarks.finding import measure, table

    found = measure(run, lessons, sequence, encoder)
    tell(found, table(found), as_json)
