"""How fast this machine does what a run does. Each command imports what it needs when it runs."""

from __future__ import annotations

from benchmarks.commands.bench import bench, tell
from seal_ray.cli.options import AsJson, Overlays, Overrides, Quiet


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
def batching(
    *,
    shape: str = "llama-30m",
    model: str = "",
    lengths: str = "",
    slots: int = 16,
    trials: int = 128,
    pairs: int = 3,
    as_json: AsJson = False,
) -> None:
    """Trials a second in a bank whose slots are refilled, and in batches that end with their longest trial.

    Parameters
    ----------
    shape
        An architecture with random weights.
    model
        A model's folder or a shipped base, in its place.
    lengths
        A recorded round, of whose self-edits the trials have as many texts, and as long ones.
    slots
        Of the bank.
    trials
        How many there are, of one epoch each.
    pairs
        How often all are measured, in turn; medians are shown.
    """
    from benchmarks.continuous_batching import measure, table

    found = measure(shape, model, lengths, slots, trials, pairs)
    tell(found, table(found, trials, slots), as_json)


@bench.command(name="round")
def round_(
    config: str = "jobs/microworld.toml",
    *overrides: Overrides,
    overlay: Overlays = (),
    picture: str = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Time a whole round: sampling, trials and the update, what overlapped and who waited.

    Parameters
    ----------
    config
        A TOML file; one round of it is done in a directory that is thrown away.
    picture
        A file for the timeline (HTML).
    """
    from benchmarks.round import bench_round, draw, table
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = bench_round(config, overrides, progress(quiet), overlay)
    if picture:
        draw(found, picture)
    tell(found.as_json(), table(found), as_json)


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
    from benchmarks.places import Settings, measure

    found = measure(Settings(model, texts, places, shortest, longest, pairs))
    tell(found, found.line(), as_json)


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
    from benchmarks.products import Settings, measure

    settings = Settings(model, shape, dtype, targets, rank, batch_size, slots, steps, pairs)
    for found in measure(settings):
        tell(found, found.line(), as_json)


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
    from benchmarks.alike import measure
    from seal_ray.learning.settings import DEFAULT_MODEL

    found = measure(model or DEFAULT_MODEL, document, adapters, pairs)
    tell(found, found.line(), as_json)


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
    from benchmarks.ranks import measure

    found = measure(shape, model, ranks, texts, pairs)
    tell(found, found.line(), as_json)


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
    from benchmarks import company as measuring
    from seal_ray import config as configs
    from seal_ray.observe.progress import start_log

    start_log()
    found = measuring.measure(configs.load(config, overrides, overlay), dtypes)
    tell(found, measuring.table(found), as_json)


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
