"""Counted work against a budget: a step that grows dearer fails here, on any machine alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.continuous_batching import jobs, padded, static_batches, went
from benchmarks.models import numbers_tokenizer, random_model
from benchmarks.op_counts import Work, count
from benchmarks.workload import drawn, recorded
from seal_ray.bank import Bank
from seal_ray.model.architecture import Shape
from tests.shared import SHARED, needs_shared

SLOTS, TRIALS = 8, 32
BUDGET = Work(flops=2_309_730_304, products=3_000, kernels=39_000, passes=38, tokens=13_696, computed=13_696)
"""For all trials, without questions. Lower a number when the work has become less; raise one only with a reason."""


def bank(slots: int = SLOTS) -> Bank:
    model = random_model("tiny", Shape(2, 32, 64, 2, 2, 16, 64, True), torch.float32, "cpu", 512)
    return Bank(model, numbers_tokenizer(64), slots=slots)


@pytest.mark.slow
def test_the_work_of_trials_stays_within_its_budget() -> None:
    found = count(bank(), [jobs(drawn(), TRIALS, 64, epochs=1)])
    assert found.tokens == BUDGET.tokens
    assert found.computed == found.tokens, "the base runs over real tokens alone"
    for name in ("flops", "products", "kernels", "passes"):
        assert getattr(found, name) <= getattr(BUDGET, name), name
    assert found.flops > 0.95 * BUDGET.flops, "less work than the budget says: lower the budget"


@pytest.mark.slow
def test_continuous_batching_takes_fewer_passes_than_static_batches() -> None:
    every = jobs(drawn(), TRIALS, 64, epochs=1)
    static, continuous = count(bank(), static_batches(every, SLOTS)), count(bank(), [every])
    assert static.tokens == continuous.tokens
    assert static.passes > 1.8 * continuous.passes


@pytest.mark.slow
def test_a_padded_batch_computes_every_slot_until_the_longest_trial_is_done() -> None:
    every = jobs(drawn(), TRIALS, 64, epochs=1)
    batches = static_batches(every, SLOTS)
    idle, computing = (went(bank(), parts) for parts in (batches, map(padded, batches)))
    assert idle.steps == sum(len(job.texts or ()) for job in every)
    assert computing.passes == idle.passes
    assert computing.steps == SLOTS * idle.passes


@pytest.mark.slow
@pytest.mark.parametrize("lengths", ["drawn", pytest.param("recorded", marks=needs_shared)])
def test_refilled_slots_are_in_use_nearly_all_of_a_round(lengths: str) -> None:
    work = drawn() if lengths == "drawn" else recorded(SHARED / "data/seal_records/rank_iter0.json")
    short = replace(work, edits=tuple((2,) * len(edit) for edit in work.edits))  # slots fill by the number of texts
    slots, trials = 16, 750
    found = went(bank(slots), [jobs(short, trials, 64, epochs=1)])
    assert found.steps / (slots * found.passes) > 0.98
