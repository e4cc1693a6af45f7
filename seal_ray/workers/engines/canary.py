"""Is the policy that is served the policy that was trained? Checked once after each load.

An adapter can go missing on its way into a sampling engine without any error: bound to no module, scaled by zero,
cut to another rank, or the one before still in its place. The policy is then silently frozen. So a probe text is
scored by the engine and compared with the bank's own numbers for the same policy version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seal_ray.types import AdapterRef
from seal_ray.workers.engines.base import Engine

_CERTAIN = 8.0
"""How far a difference between policies must stand out of the tolerated noise before its share is judged."""
_CLEAR = 4.0
"""How far it must stand out of what it leaves unexplained, where the noise is less than what is tolerated."""


class CanaryError(RuntimeError):
    """The engine does not serve the policy it was given."""


@dataclass(frozen=True)
class Probe:
    """A text and what the bank makes of it: the log-probability of each token after the first."""

    ids: tuple[int, ...]
    expected: tuple[float, ...]
    """Log-probabilities under the adapter that is to be served."""
    before: tuple[float, ...]
    """Log-probabilities under the adapter before it."""
    base: tuple[float, ...]
    """Log-probabilities under the untouched base."""


@dataclass(frozen=True)
class Reading:
    """What one check measured, in nats per token."""

    adapter: AdapterRef
    difference: float
    """Mean absolute difference between the engine and the bank."""
    effect: float
    """Mean absolute difference that the policy makes, by the bank; 0 for the base itself."""
    arrived: float | None
    """Share of that effect seen in the engine: 1 when all is well; None when it is too small to tell."""
    step: float
    """Mean absolute difference from the policy before, by the bank."""
    stepped: float | None
    """Share of that step seen in the engine: 0 when the policy before is still served; None likewise."""

    def __str__(self) -> str:
        return (
            f"adapter {self.adapter.key} is served: {self.difference:.4f} nats a token from the bank; of its effect of "
            f"{self.effect:.4f} {_share(self.arrived)} arrived, of its step of {self.step:.4f} {_share(self.stepped)}"
        )


async def check(engine: Engine, adapter: AdapterRef, probe: Probe, tolerance: float) -> Reading:
    """Compare the engine's log-probabilities of a probe text with the bank's; `CanaryError` on a mismatch.

    `tolerance` is the mean difference per token that rounding may cause. An effect smaller than that is still
    checked: over a whole probe, rounding averages out and a missing adapter does not.
    """
    got = await engine.log_probs(probe.ids, adapter)
    due = len(probe.ids) - 1
    if not len(got) == len(probe.expected) == len(probe.before) == len(probe.base) == due:
        raise CanaryError(
            f"adapter {adapter.key}: {engine.name} gave {len(got)} log-probabilities for the probe, the bank "
            f"{len(probe.expected)}, {len(probe.before)} and {len(probe.base)}, and {due} were due"
        )
    arrived, stepped = (_share_of_way(got, start, probe.expected, tolerance) for start in (probe.base, probe.before))
    effect, step = (_mean_gap(probe.expected, start) for start in (probe.base, probe.before))
    reading = Reading(adapter, _mean_gap(got, probe.expected), effect, arrived, step, stepped)
    # Written so that a NaN fails.
    if not (reading.difference <= tolerance and all(s is None or 0.5 < s < 1.5 for s in (arrived, stepped))):
        raise CanaryError(_explain(engine.name, reading, got, probe, tolerance))
    return reading


def _share_of_way(got: Sequence[float], start: Sequence[float], end: Sequence[float], tolerance: float) -> float | None:
    """The share of the way from one policy's numbers to another's at which the engine is; None if it cannot be told."""
    way = [b - a for a, b in zip(start, end, strict=True)]
    seen = [b - a for a, b in zip(start, got, strict=True)]
    energy = sum(w * w for w in way)
    if not energy:
        return None
    share = sum(s * w for s, w in zip(seen, way, strict=True)) / energy
    beside = math.sqrt(sum((s - share * w) ** 2 for s, w in zip(seen, way, strict=True)))
    return share if math.sqrt(energy) > min(_CERTAIN * tolerance, _CLEAR * beside) else None


def _share(share: float | None) -> str:
    return "too little to tell" if share is None else f"{share:.0%}"


def _explain(engine: str, reading: Reading, got: Sequence[float], probe: Probe, tolerance: float) -> str:
    hint = ""
    if reading.stepped is not None and abs(reading.stepped) < 0.5:
        hint = " The engine still scores as the policy before does."
    if reading.effect > tolerance and _mean_gap(got, probe.base) <= tolerance:
        hint = " The engine scores as the untouched base does: the adapter does nothing there."
    return (
        f"adapter {reading.adapter.key} is not what {engine} serves: mean log-probability of the probe "
        f"{_mean(got):.4f} there, {_mean(probe.expected):.4f} in the bank (base {_mean(probe.base):.4f}); mean "
        f"difference {reading.difference:.4f}, tolerance {tolerance:g}; share of the adapter's effect that arrived: "
        f"{_share(reading.arrived)}, of its step from the policy before: {_share(reading.stepped)}.{hint}"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_gap(a: Sequence[float], b: Sequence[float]) -> float:
    return _mean([abs(x - y) for x, y in zip(a, b, strict=True)])
