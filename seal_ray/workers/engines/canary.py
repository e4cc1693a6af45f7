"""Is the policy that is served the policy that was trained? Asked once after each load.

An adapter can go missing on its way into a sampling engine without any error: bound to no module, scaled by zero,
cut to another rank. The policy is then silently frozen. So a probe text is scored by the engine and compared
with the bank's own numbers for the same policy version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seal_ray.workers.engines.base import Engine

_CERTAIN = 8.0
"""How far the adapter's effect must stand out of the tolerated noise before its share is judged."""


class CanaryError(RuntimeError):
    """The engine does not serve the policy it was given."""


@dataclass(frozen=True)
class Reading:
    """What one check measured, in nats per token."""

    version: int
    difference: float
    """Mean absolute difference between the engine and the bank."""
    effect: float
    """Mean absolute difference that the policy makes, by the bank; 0 for the base itself."""
    arrived: float | None
    """Share of that effect seen in the engine: 1 when all is well; None when it is too small to tell."""


async def check(
    engine: Engine,
    version: int,
    probe_ids: Sequence[int],
    expected_log_probs: Sequence[float],
    base_log_probs: Sequence[float],
    tolerance: float,
) -> Reading:
    """Compare the engine's log-probabilities of a probe text with the bank's; `CanaryError` on a mismatch.

    `expected_log_probs` are the bank's under this policy version, `base_log_probs` under the untouched base.
    `tolerance` is the mean difference per token that rounding may cause. An effect smaller than that is still
    checked: over a whole probe, rounding averages out and a missing adapter does not.
    """
    got = await engine.log_probs(probe_ids)
    if not len(got) == len(expected_log_probs) == len(base_log_probs) == len(probe_ids) - 1:
        raise CanaryError(
            f"policy {version}: {engine.name} gave {len(got)} log-probabilities for the probe, the bank "
            f"{len(expected_log_probs)} and {len(base_log_probs)}, and {len(probe_ids) - 1} were due"
        )
    pull = [want - base for want, base in zip(expected_log_probs, base_log_probs, strict=True)]
    seen = [have - base for have, base in zip(got, base_log_probs, strict=True)]
    energy = sum(p * p for p in pull)
    tells = math.sqrt(energy) > _CERTAIN * tolerance
    arrived = sum(s * p for s, p in zip(seen, pull, strict=True)) / energy if tells else None
    difference, effect = _mean_gap(got, expected_log_probs), _mean_gap(expected_log_probs, base_log_probs)
    reading = Reading(version, difference, effect, arrived)
    # Written so that a NaN fails.
    if not (reading.difference <= tolerance and (arrived is None or arrived > 0.5)):
        raise CanaryError(_explain(engine.name, reading, got, expected_log_probs, base_log_probs, tolerance))
    return reading


def _explain(
    engine: str,
    reading: Reading,
    got: Sequence[float],
    expected: Sequence[float],
    base: Sequence[float],
    tolerance: float,
) -> str:
    share = "too small to tell" if reading.arrived is None else f"{reading.arrived:.0%}"
    hint = (
        " The engine scores as the untouched base does: the adapter does nothing there."
        if (reading.effect > tolerance and _mean_gap(got, base) <= tolerance)
        else ""
    )
    return (
        f"policy {reading.version} is not what {engine} serves: mean log-probability of the probe {_mean(got):.4f} "
        f"there, {_mean(expected):.4f} in the bank (base {_mean(base):.4f}); mean difference "
        f"{reading.difference:.4f}, tolerance {tolerance:g}; share of the adapter's effect that arrived: {share}.{hint}"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_gap(a: Sequence[float], b: Sequence[float]) -> float:
    return _mean([abs(x - y) for x, y in zip(a, b, strict=True)])
