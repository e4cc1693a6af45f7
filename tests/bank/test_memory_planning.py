"""Slots and the tokens of a pass are planned from what is free, and change no outcome."""

from __future__ import annotations

import pytest
import torch

from seal_ray.bank import Bank, Job
from seal_ray.bank import memory as memories
from seal_ray.plan.memory import ON_A_CPU, TOKENS_PER_STEP
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_texts, make_tokenizer


def jobs(count: int) -> list[Job]:
    return [
        Job(f"{n}", make_texts(3, seed=n), LoraSpec(4, 4.0, ALL), OptimSpec(1e-2, 4), seed=n, keep_adapter=True)
        for n in range(count)
    ]


def watched(count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Bytes and tokens of the first pass of so many slots."""
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr("seal_ray.bank.slots.tokens_that_fit", lambda *found: seen.append(found[:2]) or 1 << 20)
    bank = Bank(make_model(), make_tokenizer(), slots=count)
    assert all(result.failure is None for result in bank.run(jobs(count)))
    (found,) = seen
    return found


def test_what_a_pass_keeps_is_counted_by_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = watched(4, monkeypatch), watched(16, monkeypatch)
    assert many[1] > 3 * few[1]
    assert many[0] / many[1] == pytest.approx(few[0] / few[1], rel=0.15)


def test_where_little_is_free_passes_are_small_and_the_outcome_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {result.key: result for result in Bank(make_model(), make_tokenizer(), slots=6).run(jobs(6))}
    monkeypatch.setattr(memories, "free_bytes", lambda device: 1 << 19)
    bank = Bank(make_model(), make_tokenizer(), slots=6)
    split = {result.key: result for result in bank.run(jobs(6))}
    assert bank.training.max_tokens_per_microbatch < 60
    for key, result in split.items():
        assert result.losses == pytest.approx(whole[key].losses, abs=1e-11)


@pytest.mark.parametrize(("longest", "most"), [(512, 2048), (6000, 6000), (40_000, 16_384)])
def test_a_pass_on_a_processor_has_what_a_whole_text_may_have_or_a_little_more(longest: int, most: int) -> None:
    assert memories.most_tokens(torch.device("cpu"), longest) == most
    assert memories.most_tokens(torch.device("cuda"), longest) == memories.MOST == TOKENS_PER_STEP
    assert memories.FIRST == ON_A_CPU
    assert Bank(make_model(), make_tokenizer(), slots=1).training.max_tokens_per_microbatch == memories.FIRST


def test_a_budget_that_is_given_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "free_bytes", lambda device: 1 << 10)
    bank = Bank(make_model(), make_tokenizer(), slots=2, max_tokens_per_microbatch=100)
    list(bank.run(jobs(2)))
    assert bank.training.max_tokens_per_microbatch == 100


@pytest.mark.slow
@pytest.mark.parametrize("slots", [0.5, 1, 3])
def test_no_more_slots_are_used_than_there_is_memory_for_and_the_outcome_is_the_same(
    slots: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {result.key: result for result in Bank(make_model(), make_tokenizer(), slots=6).run(jobs(7))}
    bank = Bank(make_model(), make_tokenizer(), slots=6)
    memory = slots * bank.memory_per_slot(jobs(1)[0].lora) / memories.SHARE
    monkeypatch.setattr(memories, "free_bytes", lambda device: memory - held(bank))
    for job in jobs(7):
        bank.submit(job)
    few, busy, waiting = {}, [], []
    while bank.busy:
        few |= {result.key: result for result in bank.step()}
        busy.append(len(bank.training.running))
        waiting.append(len(bank.waiting))
    assert max(busy) == max(1, slots)
    assert max(waiting) <= 2 * max(busy), "what waits for its answers takes memory too"
    for key, result in few.items():
        assert result.losses == pytest.approx(whole[key].losses, abs=1e-11)
    assert few.keys() == whole.keys()


def held(bank: Bank) -> int:
    return sum(cohort.bytes for cohort in bank.training.cohorts)
