"""Gradients in float16 are those of float32, but for rounding: neither lost for being small nor for being large."""

import random

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from seal_ray.bank import Bank, Job, TokenText, loss_scaling
from seal_ray.bank.prepare import prepare
from seal_ray.types import LoraSpec, OptimSpec
from seal_ray.workers.full_finetune import _fill
from tests.bank.small import SHAPE, make_model, make_texts, make_tokenizer
from tests.bank.test_neighbours import make_job

WORDS = 4000


def wide_model(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, "vocab_size": WORDS}))
    return model.to(dtype).eval()


def wide_texts(count, length):
    draw = random.Random(1)
    return tuple(TokenText.of((), [draw.randrange(WORDS) for _ in range(length)]) for _ in range(count))


def gradients(dtype, job, start=loss_scaling.START):
    """Of a first step from a B that is not zero, as after some steps; the loss, and its scale."""
    bank = Bank(wide_model(dtype), make_tokenizer(), slots=1, max_tokens_per_microbatch=1024)
    slots = bank.training
    slots.admit([prepare(job, bank.patched.modules, bank.vocabulary, 256, 256)])
    slots.running[0].loss_scale = start
    (cohort,) = slots.cohorts
    for _, b_SOR in cohort.buffer_layout.views(cohort.buffers_SP[0]).values():
        b_SOR.copy_(torch.randn(b_SOR.shape, generator=torch.Generator().manual_seed(5)) * 0.02)
    loss_S = slots.accumulate([slots.running[0].rows(0)])
    parts = [part for pair in cohort.buffer_layout.views(cohort.buffers_SP[1]).values() for part in pair]
    return parts, loss_S.item(), slots.running[0].loss_scale


def apart(found, expected):
    """The relative error in the median over matrices."""
    errors = [float((ours - theirs).norm() / theirs.norm()) for ours, theirs in zip(found, expected, strict=True)]
    return sorted(errors)[len(errors) // 2]


@pytest.mark.slow
@pytest.mark.parametrize("start", [loss_scaling.START, 2.0**20])
def test_the_gradient_of_a_large_batch_is_that_of_float32_wherever_the_scale_starts(start):
    job = Job("it", wide_texts(16, 128), LoraSpec(8, 16.0, ("q_proj", "v_proj", "down_proj")), OptimSpec(1e-3, 1, 16))
    expected, loss, _ = gradients(torch.float32, job)
    found, loss_16, left = gradients(torch.float16, job, start)
    assert loss_16 == pytest.approx(loss, abs=1e-2)
    assert apart(found, expected) < 0.004
    assert (left < start) == (start > loss_scaling.START)


def test_a_step_done_again_at_a_smaller_scale_is_a_step_of_its_own_trial_alone(monkeypatch):
    jobs = [make_job("it"), make_job("other", texts=make_texts(3, seed=9), optim=OptimSpec(1e-2, 3, 3))]
    alone = {job.key: next(iter(half_bank().run([job]))) for job in jobs}
    bank = half_bank()
    started = bank.training.admit

    def admit(newcomers):
        started(newcomers)
        bank.training.running[0].loss_scale = 2.0**60

    monkeypatch.setattr(bank.training, "admit", admit)
    for result in bank.run(jobs):
        assert result.steps == alone[result.key].steps
        assert result.losses == pytest.approx(alone[result.key].losses, abs=0.05)


def half_bank():
    return Bank(make_model(dtype=torch.float16), make_tokenizer(), slots=2)


def test_all_weights_trained_get_the_gradient_of_float32_too():
    texts, found = wide_texts(16, 128), {}
    for dtype in (torch.float32, torch.float16):
        model = wide_model(dtype).float().requires_grad_(True)
        _fill(model, texts, 256, dtype, loss_scaling.START)
        found[dtype] = [parameter.grad for parameter in model.parameters() if parameter.dim() > 1]
    assert apart(found[torch.float16], found[torch.float32]) < 0.003
