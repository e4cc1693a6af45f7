"""What a slot adds to memory is the formula of the documentation, and trials leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.machine import held_bytes
from seal_ray.bank import Bank, Job
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_texts, make_tokenizer

CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "computed"), [(torch.float32, 0), (torch.bfloat16, 2)])
def test_a_slot_in_training_adds_what_the_formula_says(dtype: torch.dtype, computed: int) -> None:
    lora = LoraSpec(16, 16.0, ALL)
    held = {}
    for slots in (4, 12):
        bank = Bank(make_model(dtype=dtype), make_tokenizer(), slots=slots)
        before = held_bytes(CPU)
        for number in range(slots):
            bank.submit(Job(f"{number}", make_texts(3, seed=number), lora, OptimSpec(1e-3, 4), seed=number))
        bank.step()
        adapters = bank.training._adapters()
        held[slots] = held_bytes(CPU) - before
        del adapters
    added = (held[12] - held[4]) / 8
    numbers = 16 * sum(
        module.width_in + module.width_out for module in bank.patched.modules if module.name != "lm_head"
    )
    assert bank.memory_per_slot(lora) == numbers * (16 + computed)
    assert added == pytest.approx(bank.memory_per_slot(lora), rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process holds")
def test_two_thousand_trials_leave_no_memory_behind() -> None:
    bank = Bank(make_model(dtype=torch.float32), make_tokenizer(), slots=50)
    held, resident = [], []
    for part in range(5):
        jobs = (
            Job(f"{part}-{n}", make_texts(1 + n % 4, seed=n), LoraSpec(2, 4.0, ("q_proj",)), OptimSpec(1e-3, 1), seed=n,
                prompts=((5, 6),), max_new_tokens=1)
            for n in range(400)
        )  # fmt: skip
        assert all(result.failure is None for result in bank.run(jobs))
        held.append(held_bytes(CPU))
        resident.append(4096 * int(Path("/proc/self/statm").read_text().split()[1]))
    assert held[-1] <= held[0] * 1.01
    assert resident[-1] - resident[1] < 4 << 20
