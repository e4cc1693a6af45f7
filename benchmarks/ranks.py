"""Adapters of several ranks in one bank, against banks of one rank each: processor time in turns, operations, memory.

    python -m benchmarks ranks

All slots train on the same texts, each in an order of its own, on all linear layers. If a slot costs what its own rank
takes, the bank of all ranks takes the mean of the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.models import build
from benchmarks.op_counts import count
from benchmarks.workload import drawn
from seal_ray.bank import Bank, Job, TokenText
from seal_ray.types import ALL_LINEAR, LoraSpec, OptimSpec, UserError


@dataclass(frozen=True)
class Found:
    """Of the bank of all ranks, as a share of the mean of banks of one rank each, or of what else is said."""

    ranks: tuple[int, ...]
    shares: tuple[float, ...]
    """Of processor time, one each time that all were measured."""
    operations: float
    held: int
    """Bytes of adapters, gradients and moments."""
    formula: int
    """The sum of what `Bank.memory_per_slot` says of each."""
    largest: int
    """What as many slots of the largest rank take."""

    @property
    def share(self) -> float:
        return median(self.shares)

    def line(self) -> str:
        ranks, every = ", ".join(map(str, self.ranks)), ", ".join(f"{share:.3f}" for share in sorted(self.shares))
        return (
            f"ranks {ranks}: {self.share:.3f} of the mean time of banks of one rank ({every}), "
            f"{self.operations:.4f} of their operations; {self.held:,} bytes, {self.formula:,} by the formula, "
            f"{self.held / self.largest:.2f} of as many slots of rank {max(self.ranks)}"
        )


def measure(shape: str, path: str, ranks: Sequence[int], texts: int, pairs: int) -> Found:
    """Train an epoch on so many texts a slot, with all ranks together and with each alone, in turn."""
    if len(ranks) < 2 or min(ranks) < 1:
        raise UserError("ranks compares two ranks or more, none below 1: give --ranks 4 --ranks 128, or leave it out")
    lengths = drawn().sample(texts)
    model, tokenizer = build(shape, path, "float32", "cpu", max(lengths))
    vocabulary = model.get_input_embeddings().weight.shape[0]
    material = [TokenText.of((), [(7 * place + text) % vocabulary for place in range(length)])
                for text, length in enumerate(lengths)]  # fmt: skip
    bank = Bank(model, tokenizer, slots=len(ranks))

    def jobs(of: Sequence[int]) -> list[Job]:
        optim = OptimSpec(1e-3, epochs=1, batch_size=1)
        loras = [LoraSpec(rank, 16.0, (ALL_LINEAR,)) for rank in of]
        return [Job(f"{slot}", tuple(material), lora, optim, seed=slot) for slot, lora in enumerate(loras)]

    def seconds(of: Sequence[int]) -> float:
        began = time.process_time()
        for result in bank.run(jobs(of)):
            assert result.failure is None, result.failure
        return time.process_time() - began

    uniform = [[rank] * len(ranks) for rank in ranks]
    operations = count(bank, [jobs(ranks)]).flops / fmean(count(bank, [jobs(of)]).flops for of in uniform)
    shares = [seconds(ranks) / fmean(map(seconds, uniform)) for _ in range(pairs)]
    sizes = [bank.memory_per_slot(job.lora) for job in jobs(ranks)]
    return Found(tuple(ranks), tuple(shares), operations, _held(bank, jobs(ranks)), sum(sizes), len(sizes) * max(sizes))


def _held(bank: Bank, jobs: Sequence[Job]) -> int:
    """Bytes that the buffers of these take while they are trained."""
    for job in jobs:
        bank.submit(job)
    bank.step()
    held = sum(cohort.bytes for cohort in bank.training.cohorts)
    while bank.busy:
        bank.step()
    return held
