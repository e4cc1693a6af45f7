"""What a run says of itself among Ray's own metrics, which the agent of its node gives Prometheus.

Setting one is a write to this process's memory; Ray's own thread takes it from there, so they are always on. What is
counted is added up here first, as a run counts oftener than anybody looks.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Sums
from collections.abc import Sequence
from functools import partial
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from seal_ray.types import Completion, Outcome
from seal_ray.workers.pool import Pool

_EVERY = 2.0
"""Seconds between looks at the pools, and at what was counted."""
_SECONDS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]

COUNTERS = {
    "trials": "Trials done, those that failed among them.",
    "failures": "Trials that failed, by kind.",
    "tokens_trained": "Tokens that trials were trained on.",
    "tokens_sampled": "Tokens written by samplers.",
}
GAUGES = {
    "calls_waiting": "Calls that no worker has taken yet, by pool.",
    "slots_busy": "What the calls weigh that workers hold: trials, or tokens of texts being written, by pool.",
    "workers_up": "Workers that are up, by pool.",
    "adapter_bytes": "Bytes of the adapters that every worker holds.",
}
HISTOGRAMS = {"call_seconds": "Seconds from a call's start on a worker to its answer, by what is done."}
_BY = {"failures": "kind", "calls_waiting": "pool", "slots_busy": "pool", "workers_up": "pool", "call_seconds": "what"}


class RunMetrics:
    """A run's metrics, each with the run's name; made once Ray is up."""

    def __init__(self, run: str) -> None:
        timed: Any = partial(Histogram, boundaries=_SECONDS)
        kinds: list[tuple[dict[str, str], Any]] = [(COUNTERS, Counter), (GAUGES, Gauge), (HISTOGRAMS, timed)]
        self._metrics: dict[str, Any] = {
            name: kind(f"seal_ray_{name}", description=said, tag_keys=("run", *([_BY[name]] if name in _BY else ())))
            for named, kind in kinds
            for name, said in named.items()
        }
        for metric in self._metrics.values():
            metric.set_default_tags({"run": run})
        self._counted = Sums[tuple[str, str]]()

    def tried(self, outcome: Outcome) -> Outcome:
        """Count a trial that has ended, and give it back."""
        self._counted["trials", ""] += 1
        self._counted["tokens_trained", ""] += outcome.tokens
        if outcome.failure:
            self._counted["failures", outcome.failure.kind] += 1
        return outcome

    def sampled(self, completion: Completion) -> Completion:
        """Count a text that was written, and give it back."""
        self._counted["tokens_sampled", ""] += completion.tokens
        return completion

    def took(self, what: str, seconds: float) -> None:
        self._metrics["call_seconds"].observe(max(seconds, 0.0), tags={"what": what})

    def holds(self, count: int) -> None:
        self._set("adapter_bytes", count)

    async def watch(self, pools: Sequence[Pool]) -> None:
        """Say how busy these are, until it is cancelled; then that they are not."""
        try:
            while True:
                self.tell()
                for pool in pools:
                    self._load(pool.name, pool.waiting, pool.held_now, pool.workers)
                await asyncio.sleep(_EVERY)
        finally:
            self.tell()
            for pool in pools:
                self._load(pool.name, 0, 0, 0)

    def tell(self) -> None:
        """Give Ray what was counted since the last time."""
        for (name, by), more in self._counted.items():
            if more > 0:  # which is all that Ray counts
                self._metrics[name].inc(more, tags=_tags(name, by))
        self._counted.clear()

    def _load(self, pool: str, waiting: int, held: int, workers: int) -> None:
        self._set("calls_waiting", waiting, pool)
        self._set("slots_busy", held, pool)
        self._set("workers_up", workers, pool)

    def _set(self, name: str, value: float, by: str = "") -> None:
        self._metrics[name].set(value, tags=_tags(name, by))


def _tags(name: str, by: str) -> dict[str, str] | None:
    return {_BY[name]: by} if by else None
