"""A slot costs what its own adapter is: of whatever rank, on whichever layers, and whoever is beside it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from benchmarks.op_counts import count
from seal_ray.bank import Bank, Job, layout
from seal_ray.bank import memory as memories
from seal_ray.types import ALL_LINEAR, LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_prompts, make_texts, make_tokenizer, peft_tensors, train_alone

RANKS = (4, 8, 16, 32, 64, 128)
PLACES = (
    ("q_proj", "v_proj"),
    ("layers.1.self_attn.q_proj",),
    ("down_proj", "lm_head"),
    (ALL_LINEAR,),
    ("layers.0.mlp.up_proj", "layers.0.mlp.gate_proj", "o_proj"),
    ALL,
)
LORAS = tuple(LoraSpec(rank, 8.0, targets) for rank, targets in zip(RANKS, PLACES, strict=True))


def make_job(number: int, lora: LoraSpec, **changes) -> Job:
    optim = OptimSpec(1e-2, epochs=changes.pop("epochs", 2), batch_size=2)
    return Job(f"{number}", make_texts(4, number, 8, 8), lora, optim, number, keep_adapter=True, **changes)


def held(bank: Bank) -> int:
    buffers = [buffer for cohort in bank.training.cohorts for buffer in cohort.buffers_SP]
    return sum(buffer.untyped_storage().nbytes() for buffer in buffers)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_buffers_of_a_mixed_bank_hold_what_the_formula_says_of_each_slot(dtype: torch.dtype) -> None:
    bank = Bank(make_model(dtype=dtype), make_tokenizer(), slots=len(LORAS))
    for number, lora in enumerate(LORAS):
        bank.submit(make_job(number, lora))
    bank.step()
    copies = [part for block in bank.training._adapters().blocks for pair in block.weights.values() for part in pair]
    computed = sum(part.nbytes for part in copies) if dtype == torch.bfloat16 else 0
    assert len(bank.training.running) == len(LORAS)
    assert held(bank) + computed == sum(map(bank.memory_per_slot, LORAS))


def test_a_bank_whose_slots_change_hands_holds_no_more_than_those_who_are_in_it_need() -> None:
    bank, draw = Bank(make_model(), make_tokenizer(), slots=4), random.Random(0)
    for number in range(24):
        bank.submit(make_job(number, draw.choice(LORAS), epochs=draw.randint(1, 4)))
    while bank.busy:
        waiting = len(bank.queue)
        bank.step()
        if len(bank.queue) < waiting and len(bank.training.running) == 4:  # none has left since the last was admitted
            assert held(bank) == sum(bank.memory_per_slot(run.prepared.job.lora) for run in bank.training.running)
    assert held(bank) == 0


@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_operations_of_a_mixed_bank_are_those_of_each_trial_alone(
    one_by_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if one_by_one:
        monkeypatch.setattr(layout, "PADDING", 0)
    bank = Bank(make_model(), make_tokenizer(), slots=len(LORAS))
    # Backward stops at the first adapter of a pass, so all have one there.
    first = "layers.0.self_attn.q_proj"
    loras = [replace(lora, targets=(first, *lora.targets)) for lora in LORAS]
    jobs = [make_job(number, lora) for number, lora in enumerate(loras)]
    together, alone = count(bank, [jobs]), [count(bank, [[job]]) for job in jobs]
    assert together.passes == alone[0].passes
    assert together.flops == sum(work.flops for work in alone)


def test_as_many_of_the_queue_are_admitted_as_there_is_memory_for_by_what_each_of_them_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank = Bank(make_model(), make_tokenizer(), slots=6)
    loras = [LoraSpec(rank, 8.0, ALL) for rank in (4, 128, 8, 16)]
    room = sum(map(bank.memory_per_slot, loras[:3]))
    monkeypatch.setattr(memories, "free_bytes", lambda device: room / memories.SHARE - held(bank))
    for number, lora in enumerate(loras):
        bank.submit(make_job(number, lora))
    bank.step()
    assert [run.prepared.job.lora.rank for run in bank.training.running] == [4, 128, 8]


def random_jobs(seed: int, count: int) -> list[Job]:
    """Of ranks from 1 to 128, on one layer or all of them, with a scale, a length and a batch of their own."""
    draw = random.Random(seed)
    modules = [target.rpartition(".")[2] for target in ALL]
    names = [
        *modules,
        "lm_head",
        *(f"layers.{draw.randrange(2)}.{kind}" for kind in ("mlp.up_proj", "self_attn.k_proj")),
    ]
    return [
        Job(
            f"{number}",
            make_texts(draw.randint(1, 6), seed=seed + number, high=draw.choice([4, 30])),
            LoraSpec(
                draw.choice([1, 3, *RANKS]), draw.choice([4.0, 16.0]), tuple(draw.sample(names, draw.randint(1, 5)))
            ),
            OptimSpec(1e-2, draw.randint(1, 6), draw.randint(1, 3), draw.choice(["linear", "cosine"])),
            seed=seed + number,
            prompts=make_prompts(2, seed + number),
            max_new_tokens=4,
            keep_adapter=True,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_trials_of_any_rank_on_any_layers_equal_each_alone_with_peft(
    seed: int, one_by_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if one_by_one:
        monkeypatch.setattr(layout, "PADDING", 0)
    jobs = random_jobs(100 * seed, 9)
    results = {result.key: result for result in Bank(make_model(), make_tokenizer(), slots=4).run(jobs)}
    for job in jobs:
        result = results[job.key]
        peft, losses = train_alone(make_model(), job)
        assert result.losses == pytest.approx(losses, abs=1e-9)
        theirs = peft_tensors(peft)
        assert theirs.keys() == result.adapter.tensors.keys()
        for name, tensor in theirs.items():
            assert (torch.from_numpy(result.adapter.tensors[name]) - tensor).abs().max() < 1e-8, name
        (alone,) = Bank(make_model(), make_tokenizer(), slots=1).run([job])
        assert result.answers == alone.answers
