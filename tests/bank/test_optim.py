"""Schedules, order and first weights are Transformers' and PEFT's own."""

import math
import subprocess
import sys

import pytest
import torch
from transformers import get_scheduler

from seal_ray.bank.lora import initial_weights, linear_modules, matching
from seal_ray.bank.optim import StepScalars, adamw_columns, adamw_step, batch_order, lr_factor
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model


@pytest.mark.parametrize(
    ("name", "schedule"), [("linear", "linear"), ("cosine", "cosine"), ("constant_with_warmup", "constant")]
)
@pytest.mark.parametrize("warmup", [0, 1, 11, 40])
def test_the_schedule_is_that_of_transformers_at_every_step(name, schedule, warmup):
    adamw = torch.optim.AdamW([torch.zeros(1)], 1.0)
    theirs = get_scheduler(name, adamw, warmup, 30)
    for step in range(30):
        assert lr_factor(OptimSpec(schedule=schedule, warmup_steps=warmup), step, 30) == adamw.param_groups[0]["lr"]
        adamw.step()
        theirs.step()


def test_an_epoch_shows_every_text_once_in_batches_of_the_size_asked_for_in_an_order_of_the_seeds():
    optim = OptimSpec(epochs=6, batch_size=3)
    batches = batch_order(8, optim, seed=5)
    assert [len(batch) for batch in batches] == [3, 3, 2] * 6
    epochs = [[text for batch in batches[at : at + 3] for text in batch] for at in range(0, 18, 3)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert batches == batch_order(8, optim, seed=5) != batch_order(8, optim, seed=6)


def test_first_weights_have_pefts_default_range_and_come_from_the_seed_alone():
    modules = matching(linear_modules(make_model()), ALL)
    lora = LoraSpec(16, 16.0, ALL)
    state = torch.random.get_rng_state()
    first = initial_weights(modules, lora, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(first) == 14
    for module in modules:
        bound = 1 / math.sqrt(module.width_in)
        assert first[module.name].shape == (16, module.width_in)
        assert 0.95 * bound < first[module.name].abs().max() <= bound
        assert torch.equal(first[module.name], initial_weights(modules, lora, 1)[module.name])
        assert not torch.equal(first[module.name], initial_weights(modules, lora, 2)[module.name])


def test_the_plain_data_of_the_bank_import_without_torch():
    code = "import sys, seal_ray.bank as bank; bank.Adapter, bank.Job; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_step_of_all_slots_at_once_is_the_step_of_each():
    draw = torch.Generator().manual_seed(0)
    each = tuple(torch.rand(3, 50, dtype=torch.float64, generator=draw) for _ in range(4))
    together = tuple(buffer.clone() for buffer in each)
    optims = [OptimSpec(1e-2, weight_decay=0.1), OptimSpec(1e-1, clip_norm=0.0), OptimSpec(3e-3, betas=(0.8, 0.9))]
    scalars = [StepScalars.of(optim, step, 9) for step, optim in enumerate(optims)]
    adamw_step(each, scalars)
    columns = torch.tensor([slot.columns() for slot in scalars], dtype=torch.float64)
    adamw_columns(*together, *columns.split(1, dim=1))
    for number in (0, 2, 3):
        torch.testing.assert_close(each[number], together[number], rtol=0, atol=1e-13)
