"""Continuous batching, slots refilled as they finish, against static batches, on trials with recorded numbers of texts.

Static batches are done in two ways. In the usual one, of a fixed shape, every slot is computed until the longest trial
of its batch is done. In the other, finished slots idle, and a pass has only the rows of those that go on: the bank
without refilling.

    python -m benchmarks batching --lengths rank_iter0.json
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from statistics import median

import torch

from benchmarks.models import build
from benchmarks.op_counts import counted_passes, done
from benchmarks.workload import LORA, OPTIM, Workload, workload
from seal_ray.bank import Bank, Job, TokenText


def jobs(work: Workload, count: int, vocabulary: int, epochs: int) -> list[Job]:
    """Trials as long as recorded ones, evenly spread over them by their number of texts, in an order of their own."""
    every = sorted(work.edits, key=lambda edit: (len(edit), sum(edit)))
    chosen = [every[int((place + 0.5) * len(every) / count)] for place in range(count)]
    random.Random(count).shuffle(chosen)
    draw = torch.Generator().manual_seed(0)

    def text(length: int) -> TokenText:
        return TokenText.of((), torch.randint(min(10, vocabulary - 1), vocabulary, (length,), generator=draw).tolist())

    optim = replace(OPTIM, epochs=epochs)
    return [Job(f"{n}", tuple(map(text, edit)), LORA, optim, seed=n) for n, edit in enumerate(chosen)]


def static_batches(every: Sequence[Job], slots: int) -> list[Sequence[Job]]:
    """As many at a time as there are slots; the next ones start when the last of these is done."""
    return [every[at : at + slots] for at in range(0, len(every), slots)]


def padded(batch: Sequence[Job]) -> list[Job]:
    """A static batch with its finished slots still computed: each trial begins its texts again until the longest ends.

    Each step takes one text, as in the published settings.
    """
    longest = max(len(job.texts or ()) for job in batch)
    return [replace(job, texts=tuple(islice(cycle(job.texts or ()), longest))) for job in batch]


@dataclass(frozen=True)
class Went:
    """How long some jobs took."""

    seconds: float
    processor: float
    """Seconds of all threads; neighbours on the machine hurt it less."""
    passes: int
    steps: int
    """Taken by all slots together."""


def went(bank: Bank, parts: Iterable[Sequence[Job]]) -> Went:
    """Run jobs, a part at a time; within a part, slots are refilled as they finish."""
    with counted_passes(bank) as passes:
        started, processor = time.perf_counter(), time.process_time()
        steps = sum(result.steps for result in done(bank, parts))
        return Went(time.perf_counter() - started, time.process_time() - processor, len(passes), steps)


CONTINUOUS = "continuous"
IDLE, PADDED = "static batches that let finished slots idle", "static batches that go on computing them"


def measured(bank: Bank, every: Sequence[Job], pairs: int) -> dict[str, list[Went]]:
    """All three in turn, `pairs` times."""
    batches = static_batches(every, bank.slots)
    ways: dict[str, Sequence[Sequence[Job]]] = {
        CONTINUOUS: [every],
        IDLE: batches,
        PADDED: [padded(batch) for batch in batches],
    }
    went(bank, [every[:2]])
    found: dict[str, list[Went]] = {name: [] for name in ways}
    for _ in range(pairs):
        for name, parts in ways.items():
            found[name].append(row := went(bank, parts))
            print(f"{name}: {row.seconds:.1f} s, {row.processor:.1f} of a processor", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, list[Went]], trials: int, slots: int) -> str:
    """Medians; `×` is how much longer than continuous batching, by the clock and by processor time."""
    useful = found[CONTINUOUS][0].steps
    lines = [f"{trials} trials of one epoch in {slots} slots"]
    lines += [f"{'':44}{'trials/s':>9}{'×':>6}{'× (processor)':>15}{'passes':>8}{'slots in use':>14}"]

    def middle(of: Callable[[Went], float], name: str) -> float:
        pairs = zip(found[name], found[CONTINUOUS], strict=True)
        return median(of(this) / of(continuous) for this, continuous in pairs)

    for name, rows in found.items():
        seconds = median(row.seconds for row in rows)
        lines.append(
            f"{name:44}{trials / seconds:9.3g}{middle(lambda row: row.seconds, name):6.2f}"
            f"{middle(lambda row: row.processor, name):15.2f}{rows[0].passes:8}"
            f"{useful / (slots * rows[0].passes):14.0%}"
        )
    return "\n".join(lines)


def measure(shape: str, path: str, lengths: str, slots: int, trials: int, pairs: int) -> dict[str, list[Went]]:
    """So many trials of one epoch each, in float32 on the GPU where there is one."""
    model, tokenizer = build(shape, path, "float32", "cuda" if torch.cuda.is_available() else "cpu", 2048)
    bank = Bank(model, tokenizer, slots=slots)
    return measured(bank, jobs(workload(lengths), trials, bank.vocabulary, epochs=1), pairs)
