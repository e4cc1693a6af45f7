"""What a run took: time by the clock, time of workers, and of the machines that they held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from seal_ray.config import Config
from seal_ray.record.intervals import merge, total_length
from seal_ray.record.rows import SpanRow


@dataclass(frozen=True)
class Cost:
    wall: float
    """Seconds from the first call to the end of the last one, whatever lay between."""
    under_way: float
    """Seconds in which any worker had something to do."""
    workers: int
    worker_seconds: float
    """Each worker from its first call to the end of its last one, as far as the run was under way."""
    idle_seconds: float
    """Of those, the time in which it had nothing to do."""
    gpu_seconds: float
    """Worker seconds, each times the GPUs that its kind holds."""
    cpu_seconds: float

    @property
    def idle(self) -> float:
        return self.idle_seconds / self.worker_seconds if self.worker_seconds else 0.0


def cost(spans: Iterable[SpanRow], config: Config | None) -> Cost | None:
    """None where nothing was timed."""
    calls: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in spans:
        if row.end >= row.start:
            calls[row.worker][row.what].append((row.start, row.end))
    everything = [call for kinds in calls.values() for some in kinds.values() for call in some]
    if not everything:
        return None
    under_way = merge(everything, 0.0)
    held: dict[str, float] = {}
    busy: dict[str, float] = {}
    for worker, kinds in calls.items():
        own = [call for some in kinds.values() for call in some]
        first, last = min(start for start, _ in own), max(end for _, end in own)
        held[worker] = sum(max(0.0, min(end, last) - max(start, first)) for start, end in under_way)
        busy[worker] = total_length(own)
    workers = config.workers if config else None
    gpus = {worker: _gpus(kinds, config) for worker, kinds in calls.items()}
    return Cost(
        wall=max(end for _, end in everything) - min(start for start, _ in everything),
        under_way=max(1e-9, sum(end - start for start, end in under_way)),
        workers=len(calls),
        worker_seconds=sum(held.values()),
        idle_seconds=sum(held[worker] - busy[worker] for worker in calls),
        gpu_seconds=sum(held[worker] * gpus[worker] for worker in calls),
        cpu_seconds=sum(held.values()) * (workers.cpus if workers else 0.0),
    )


def _gpus(kinds: Iterable[str], config: Config | None) -> float:
    """How many GPUs a worker with such calls holds."""
    if config is None:
        return 0.0
    writes_only = set(kinds) <= {"sample"}
    return config.workers.gpus_per_sampler if writes_only else config.workers.gpus_per_trainer
