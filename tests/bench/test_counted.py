"""Counted work against a budget: a step that grows dearer fails here, on any machine alike."""

from __future__ import annotations

import torch

from seal_ray.bank import Bank
from seal_ray.bench.counted import Work, count
from seal_ray.bench.lengths import drawn
from seal_ray.bench.models import numbers_tokenizer, random_model
from seal_ray.bench.refill import jobs, waves
from seal_ray.shape import Shape

SLOTS, TRIALS = 8, 32
BUDGET = Work(flops=2_263_502_848, products=3_600, kernels=46_000, passes=51, tokens=13_696, computed=13_696)
"""For all trials, asking none. Lower a number when the work has become less; raise one only with a reason."""


def bank() -> Bank:
    model = random_model("tiny", Shape(2, 32, 64, 2, 2, 16, 64, True), torch.float32, "cpu", 512)
    return Bank(model, numbers_tokenizer(64), slots=SLOTS)


def test_the_work_of_trials_stays_within_its_budget() -> None:
    found = count(bank(), [jobs(drawn(), TRIALS, 64, epochs=1)])
    assert found.tokens == BUDGET.tokens
    assert found.computed == found.tokens, "the base runs over real tokens alone"
    for name in ("flops", "products", "kernels", "passes"):
        assert getattr(found, name) <= getattr(BUDGET, name), name
    assert found.flops > 0.95 * BUDGET.flops, "less work than the budget says: lower the budget"


def test_refilled_slots_take_fewer_passes_than_waves_in_lock_step() -> None:
    every = jobs(drawn(), TRIALS, 64, epochs=1)
    waved, refilled = count(bank(), waves(every, SLOTS)), count(bank(), [every])
    assert waved.tokens == refilled.tokens
    assert waved.passes > 1.3 * refilled.passes
