"""How a run's GPUs (or CPUs) are divided between trainers and samplers, and when that is worth changing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from seal_ray.config import Workers
from seal_ray.record.intervals import Interval, total_length

_WORTH = 0.9
"""Share of the time that a round may still take for a move to pay: a worker that moves loads its model again."""


@dataclass(frozen=True)
class Span:
    """When a worker was busy with what, for the timeline."""

    what: str
    worker: str
    start: float
    end: float


@dataclass(frozen=True)
class Allocation:
    trainers: int
    samplers: int

    def __str__(self) -> str:
        return f"{self.trainers} training and {self.samplers} sampling"


def busy_seconds(spans: Iterable[Span], *kinds: str) -> float:
    """Summed over workers, the seconds in which they did at least one thing of these kinds."""
    by_worker: defaultdict[str, list[Interval]] = defaultdict(list)
    for span in spans:
        if span.what in kinds:
            by_worker[span.worker].append((span.start, span.end))
    return sum(map(total_length, by_worker.values()), 0.0)


def divided_again(now: Allocation, workers: Workers, spans: Iterable[Span]) -> Allocation:
    """How the workers are divided after a round with these spans; as before unless `workers.allocation` is "auto"."""
    if workers.allocation == "fixed":
        return now
    by_gpu = workers.gpus_per_trainer or workers.gpus_per_sampler
    each = (workers.gpus_per_trainer, workers.gpus_per_sampler) if by_gpu else (1.0, 1.0)
    spans = list(spans)
    return rebalanced(now, busy_seconds(spans, "trial"), busy_seconds(spans, "sample", "ask"), *each)


def rebalanced(
    now: Allocation, training: float, sampling: float, trainer: float = 1.0, sampler: float = 1.0
) -> Allocation:
    """The allocation that ends the same work soonest; the present one, unless another is clearly better.

    `training` and `sampling` are the seconds that all workers of a kind were busy in a round, `trainer` and `sampler`
    what one of them takes of a GPU (or of the CPUs). Each kind works while the other does, so a round lasts as
    long as the slower one. Fractions of a GPU are only divided again when both are the same.
    """
    tradable = trainer == sampler or (trainer >= 1 and sampler >= 1)
    if not (training and sampling and trainer and sampler and tradable):
        return now
    total = now.trainers * trainer + now.samplers * sampler

    def lasts(allocation: Allocation) -> float:
        return max(training / allocation.trainers, sampling / allocation.samplers)

    most = int((total - trainer) / sampler + 1e-9)
    allocations = [Allocation(int((total - s * sampler) / trainer + 1e-9), s) for s in range(1, most + 1)]
    best = min(allocations, key=lambda allocation: (lasts(allocation), abs(allocation.samplers - now.samplers)))
    return best if lasts(best) < _WORTH * lasts(now) else now
