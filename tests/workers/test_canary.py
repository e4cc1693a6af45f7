"""The canary's arithmetic; what it catches in the real vLLM is in test_vllm.py."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from seal_ray.types import AdapterRef, Completion, SampleRequest
from seal_ray.workers.engines.canary import CanaryError, Probe, Reading, check

COUNT = 200
RANDOM = np.random.default_rng(0)
BASE = list(-3 + RANDOM.normal(0, 1, COUNT))
PULL = RANDOM.normal(0, 1, COUNT)
NOISE = RANDOM.normal(0, 1, COUNT)
ADAPTER = AdapterRef("5ea1")
STEP = RANDOM.normal(0, 1, COUNT)


class Told:
    """An engine whose scores are what it was told."""

    name = "told"

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = list(scores)

    async def sample(self, request: SampleRequest) -> Completion:
        raise NotImplementedError

    async def hold(self, *adapters: object) -> None:
        raise NotImplementedError

    async def log_probs(self, ids: Sequence[int], adapter: AdapterRef) -> list[float]:
        return self.scores

    async def close(self) -> None:
        pass


def read(
    got: Sequence[float], expected: Sequence[float], before: Sequence[float] = BASE, tolerance: float = 0.05
) -> Reading:
    told, *bank = (tuple(float(value) for value in values) for values in (got, expected, before, BASE))
    return asyncio.run(check(Told(told), ADAPTER, Probe(tuple(range(COUNT + 1)), *bank), tolerance))


def test_equal_numbers_pass_and_say_how_much_the_policy_does() -> None:
    policy = list(BASE + 0.5 * PULL)
    reading = read(policy, policy)
    assert (reading.adapter, reading.difference) == (ADAPTER, 0.0)
    assert reading.effect == pytest.approx(0.5 * float(np.abs(PULL).mean()))
    assert reading.arrived == pytest.approx(1.0)


def test_a_mismatch_names_both_numbers_and_the_adapter() -> None:
    policy = list(BASE + PULL)
    with pytest.raises(CanaryError) as caught:
        read(BASE, policy)
    message = str(caught.value)
    assert "adapter 5ea1" in message
    assert f"{np.mean(BASE):.4f} there, {np.mean(policy):.4f} in the bank" in message
    assert "the adapter does nothing there" in message


@pytest.mark.parametrize("effect", [0.04, 0.4])
def test_an_adapter_that_does_nothing_is_seen_through_rounding_as_large_as_its_effect(effect: float) -> None:
    policy, rounding = BASE + effect * PULL, 0.04 * NOISE
    assert read(list(policy + rounding), list(policy)).difference < 0.05
    with pytest.raises(CanaryError, match="adapter 5ea1"):
        read(list(BASE + rounding), list(policy))


@pytest.mark.parametrize(("step", "noise"), [(0.04, 0.04), (0.01, 0.001)])
def test_the_policy_before_is_told_from_the_next_one_however_far_both_are_from_the_base(
    step: float, noise: float
) -> None:
    before = BASE + PULL
    policy, rounding = before + step * STEP, noise * NOISE
    reading = read(list(policy + rounding), list(policy), list(before))
    assert reading.stepped == pytest.approx(1.0, abs=0.2)
    assert f"of its step of {reading.step:.4f} {reading.stepped:.0%}" in str(reading)
    with pytest.raises(CanaryError, match="still scores as the policy before does"):
        read(list(before + rounding), list(policy), list(before))


def test_a_policy_that_arrives_at_twice_its_strength_is_none_that_was_trained() -> None:
    policy = BASE + 0.04 * PULL
    with pytest.raises(CanaryError, match="share of the adapter's effect that arrived: 200%"):
        read(list(BASE + 0.08 * PULL), list(policy))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_lost_in_rounding_on_both_sides_is_not_judged(seed: int) -> None:
    draw = np.random.default_rng(seed)
    for step in (0.0, 1e-4, 1e-3, 0.01, 0.02):
        true = BASE + PULL + step * STEP
        bank, old, engine = (1e-2 * draw.normal(0, 1, COUNT) for _ in range(3))
        read(list(true + engine), list(true + bank), list(BASE + PULL + old))  # it is served, and nothing is raised
    assert read(list(true + engine), list(true + bank), list(true + old)).stepped is None


def test_the_base_itself_is_checked_too() -> None:
    assert read(BASE, BASE).effect == 0.0
    with pytest.raises(CanaryError):
        read(list(BASE + PULL), BASE)


@pytest.mark.parametrize("broken", [[math.nan] * COUNT, [-math.inf] * COUNT, BASE[:-1]])
def test_numbers_that_are_none_fail(broken: list[float]) -> None:
    with pytest.raises(CanaryError):
        read(broken, list(BASE + PULL))
