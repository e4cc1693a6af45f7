"""The commands of `python -m benchmarks`. Like those of `seal-ray` they import what they need when they run."""

from __future__ import annotations

import json
import sys
from typing import Literal

from cyclopts import App

from seal_ray.cli.options import AsJson, Overlays, Overrides
from seal_ray.errors import said_in_one_line
from seal_ray.types import UserError

bench = App(
    name="python -m benchmarks", help="Measure how fast this machine does what a run does.", help_format="plaintext"
)


@bench.command
def trials(
    *,
    shape: str = "llama-30m",
    model: str = "",
    lengths: str = "",
    device: str = "",
    dtype: str = "",
    slots: tuple[int, ...] = (1, 4, 16, 32),
    pairs: int = 3,
    chart: str = "",
    as_json: AsJson = False,
) -> None:
    """Trials a second: as published, with PEFT and Trainer one at a time, and in banks of several sizes.

    Parameters
    ----------
    shape
        An architecture with random weights, such as qwen2.5-7b.
    model
        A model's folder or hub name, in its place.
    lengths
        A recorded round; its texts are as long as these trials' are.
    device
        cpu or cuda; empty: cuda where there is one.
    dtype
        Empty: bfloat16 on a GPU, float32 on a CPU.
    slots
        Sizes of banks.
    pairs
        How often everything is measured; medians are shown.
    chart
        A file for the table as a picture (SVG).
    """
    from benchmarks.trials import Settings, show

    show(Settings(shape, model, lengths, device, dtype, slots, pairs), chart, as_json)


@bench.command
def observers(*, trials: int = 10_000, as_json: AsJson = False) -> None:
    """Processor time of a driver and of all that watches a run, over trials that nobody trains.

    Parameters
    ----------
    trials
        How many; the figure in the documentation is of 10,000.
    """
    from benchmarks.observers import measure, show

    show(measure(trials), as_json)


@bench.command(name="round")
def round_(
    config: str = "jobs/microworld.toml",
    *overrides: Overrides,
    overlay: Overlays = (),
    picture: str = "",
    quiet: bool = False,
    as_json: AsJson = False,
) -> None:
    """Time a whole round: sampling, trials and the update, what overlapped and who waited.

    Parameters
    ----------
    config
        A TOML file; one round of it is done in a directory that is thrown away.
    picture
        A file for the timeline (HTML).
    quiet
        No progress.
    """
    from benchmarks.round import bench_round, draw, table
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = bench_round(config, overrides, progress(quiet), overlay)
    if picture:
        draw(found, picture)
    print(json.dumps(found.as_json()) if as_json else table(found))


@bench.command
def samples(
    *,
    model: str = "microworld",
    shape: str = "",
    passages: int = 16,
    per_passage: int = 5,
    max_tokens: int = 200,
    pairs: int = 3,
    as_json: AsJson = False,
) -> None:
    """Samples a second, transformers against vllm; with the micro-world's base, also trials answered in either.

    Parameters
    ----------
    model
        A shipped base, a model's folder or a hub name.
    shape
        An architecture with random weights in its place, such as llama-30m.
    passages
        Different prompts.
    per_passage
        Samples of each; all are requested at once.
    max_tokens
        Of a sample.
    pairs
        How often everything is measured; medians are shown.
    """
    from benchmarks.samples import Settings, show

    show(Settings(model, shape, passages, per_passage, max_tokens, pairs), as_json)


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
    from dataclasses import asdict

    from benchmarks.predictor import measure, table

    if not runs:
        raise UserError("give the directories of runs to replay")
    found = measure(runs, rounds_before)
    print(json.dumps([asdict(each) for each in found]) if as_json else table(found))


@bench.command
def places(
    *,
    model: str = "microworld",
    texts: int = 192,
    places: int = 64,
    shortest: int = 20,
    longest: int = 160,
    pairs: int = 3,
    as_json: AsJson = False,
) -> None:
    """Seconds and passes of sampling in places that are refilled, and in batches that end with their longest text.

    Parameters
    ----------
    model
        A shipped base, a model's folder, file or hub name.
    texts
        To be written, each after a prompt of its own.
    places
        Texts that are written side by side.
    shortest
        Tokens of the shortest text.
    longest
        Tokens of the longest text.
    pairs
        How often both are measured; medians are shown.
    """
    from dataclasses import asdict

    from benchmarks.places import Settings, measure

    found = measure(Settings(model, texts, places, shortest, longest, pairs))
    print(json.dumps(asdict(found)) if as_json else found.line())


@bench.command
def products(
    *,
    model: str = "",
    shape: str = "llama-30m",
    dtype: str = "bfloat16",
    targets: tuple[str, ...] = ("q_proj", "v_proj"),
    rank: int = 32,
    batch_size: int = 1,
    slots: tuple[int, ...] = (8, 16),
    steps: int = 4,
    pairs: int = 3,
    as_json: AsJson = False,
) -> None:
    """What share of a training step its products of matrices take by themselves, on a processor.

    Parameters
    ----------
    model
        A model's folder, file or hub name.
    shape
        An architecture with random weights in its place.
    dtype
        What the base computes in.
    targets
        Layers with an adapter.
    rank
        Of the adapters.
    batch_size
        Texts of a step.
    slots
        Sizes of banks.
    steps
        Of each slot.
    pairs
        How often both are measured; medians are shown.
    """
    from dataclasses import asdict

    from benchmarks.products import Settings, measure

    settings = Settings(model, shape, dtype, targets, rank, batch_size, slots, steps, pairs)
    for found in measure(settings):
        print(json.dumps(asdict(found)) if as_json else found.line(), flush=True)


@bench.command
def company(
    config: str,
    *overrides: Overrides,
    overlay: Overlays = (),
    dtypes: tuple[str, ...] = ("float32", "bfloat16"),
    as_json: AsJson = False,
) -> None:
    """How many of the base's answers change with the prompts they are computed beside, in each precision.

    Parameters
    ----------
    config
        A TOML file; all questions of its tasks are asked, closed book, alone and together.
    dtypes
        Precisions to try.
    """
    from dataclasses import asdict

    from benchmarks import company as measuring
    from seal_ray import config as configs
    from seal_ray.observe.progress import start_log

    start_log()
    found = measuring.measure(configs.load(config, overrides, overlay), dtypes)
    print(json.dumps([asdict(each) for each in found]) if as_json else measuring.table(found))


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
    quiet: bool = False,
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
    quiet
        No progress.
    """
    from dataclasses import asdict

    from benchmarks.per_task import measure, table
    from seal_ray import config as configs
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    loaded = configs.load(config, overrides, overlay)
    tried, found = measure(loaded, progress(quiet), settings=settings, tasks=tasks, axes=axes, on=on, into=into)
    print(json.dumps([asdict(each) for each in found]) if as_json else table(tried, found))


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
    from dataclasses import asdict

    from benchmarks.makespan import orders, small, table
    from benchmarks.workload import workload

    work = workload(lengths)
    found, few = orders(work, workers, slots, seeds), small(work)
    if as_json:
        print(json.dumps({"orders": [asdict(each) for each in found], "small": asdict(few)}))
    else:
        print(table(found, few, work.source))


@bench.command
def updates(
    *overrides: Overrides,
    seeds: tuple[int, ...] = (1, 2, 3),
    into: str = "runs/updates",
    quiet: bool = False,
    as_json: AsJson = False,
) -> None:
    """Hold the rules of the update to one another on the micro-world: the same trials, one round, several seeds.

    Parameters
    ----------
    seeds
        Tasks, self-edits and trials follow from each.
    into
        The folder for the runs; given again, it goes on with those that are not done.
    quiet
        No progress.
    """
    from dataclasses import asdict

    from benchmarks import updates as by_rule
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = by_rule.updates(seeds, into, overrides, progress(quiet))
    print(json.dumps([asdict(each) for each in found]) if as_json else by_rule.table(found))


@bench.command
def learn(
    *overrides: Overrides,
    model: str = "",
    document: tuple[str, ...] = (),
    into: str = "runs/learning",
    quiet: bool = False,
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
    quiet
        No progress.
    """
    from dataclasses import asdict

    from benchmarks import learning
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = learning.measure(document, model, into, overrides, progress(quiet))
    print(json.dumps([asdict(each) for each in found]) if as_json else learning.table(found))


@bench.command
def alike(
    *, model: str = "", document: str = "ferry", adapters: int = 1, pairs: int = 3, as_json: AsJson = False
) -> None:
    """Milliseconds a trained token where what texts begin with alike is worked out once, and where for each.

    Parameters
    ----------
    model
        A model's folder, file or hub name; empty: that of `seal-ray learn`.
    document
        The name of one in benchmarks/documents.
    adapters
        Trained side by side.
    pairs
        How often both are measured; medians are shown.
    """
    from dataclasses import asdict

    from benchmarks.alike import measure
    from seal_ray.learning.settings import DEFAULT_MODEL

    found = measure(model or DEFAULT_MODEL, document, adapters, pairs)
    print(json.dumps(asdict(found)) if as_json else found.line())


@bench.command
def ranks(
    *,
    shape: str = "llama-30m",
    model: str = "",
    ranks: tuple[int, ...] = (4, 8, 16, 32, 64, 128),
    texts: int = 4,
    pairs: int = 5,
    as_json: AsJson = False,
) -> None:
    """Adapters of several ranks in one bank, against banks of one rank each: processor time, operations and memory.

    Parameters
    ----------
    shape
        An architecture with random weights.
    model
        A model's folder or a shipped base, in its place.
    ranks
        One slot has each of these.
    texts
        That a slot trains on.
    pairs
        How often all are measured, in turn; the median is shown.
    """
    from dataclasses import asdict

    from benchmarks.ranks import measure

    found = measure(shape, model, ranks, texts, pairs)
    print(json.dumps(asdict(found)) if as_json else found.line())


if __name__ == "__main__":
    with said_in_one_line(sys.argv[1:]) as arguments:
        bench(arguments)
