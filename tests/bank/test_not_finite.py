"""Numbers of one text, trial or slot that are not finite reach no other."""

import logging
from dataclasses import replace

import pytest
import torch

from seal_ray.adapters.lora import Adapter
from seal_ray.bank import Bank, Job, SampleSpec, TokenText, layout
from seal_ray.types import Failure, LoraSpec, OptimSpec
from tests.bank.small import ALL, WORDS, make_model, make_prompts, make_texts, make_tokenizer
from tests.bank.test_neighbours import assert_same

POISON = WORDS - 1
"""A token the model knows nothing but NaN about."""


def poisoned_bank(slots):
    bank = Bank(make_model(), make_tokenizer(), slots=slots)
    bank.patched.model.get_input_embeddings().weight.data[POISON] = float("nan")
    bank.patched.model.lm_head.weight.data[POISON] = 0.0  # never the likeliest
    return bank


def make_job(key, seed, **changes):
    texts = tuple(text for text in make_texts(4, seed=seed) if POISON not in text.ids)
    prompts = tuple(prompt for prompt in make_prompts(3, seed=seed) if POISON not in prompt)
    job = Job(key, texts, LoraSpec(4, 8.0, ALL), OptimSpec(1e-2, 2, 2), seed, prompts, 4, keep_adapter=True)
    return replace(job, **changes)


def diverging(key, seed, epochs, **changes):
    return make_job(key, seed, optim=OptimSpec(1e200, epochs, 2, "constant"), **changes)


def run(jobs, slots):
    return {result.key: result for result in poisoned_bank(slots).run(jobs)}


def test_a_diverged_trial_leaves_nothing_in_its_slot_for_those_that_follow():
    healthy = [make_job(f"healthy {n}", 10 + n, optim=OptimSpec(1e-2, 1 + n % 3, 2)) for n in range(5)]
    # The longest gets the first slot, the other the last, which nobody else's numbers will overwrite.
    long = make_job("long", 1, optim=OptimSpec(1e-3, 14, 2))
    results = run([long, diverging("diverges", 2, epochs=12), *healthy], slots=2)
    assert results["diverges"].failure == Failure("data", "the loss is not finite at step 1")
    for job in healthy:
        assert_same(results[job.key], run([job], slots=2)[job.key])


@pytest.mark.parametrize("padding", [0, layout.PADDING, 1 << 40])
def test_a_slot_with_nothing_held_between_two_that_hold_is_not_reached_by_one_gone_to_nan(padding, monkeypatch):
    monkeypatch.setattr(layout, "PADDING", padding)
    holding = {"anchor_examples": make_texts(3, seed=30), "kl_coef": 1.0}
    jobs = [make_job("holds", 1, **holding), make_job("plain", 3), diverging("diverges", 2, epochs=2, **holding)]
    results = run(jobs, slots=3)
    assert results["diverges"].failure is not None
    for job in jobs[:2]:
        assert_same(results[job.key], run([job], slots=3)[job.key])


def test_an_adapter_too_large_for_the_dtype_does_not_reach_slots_it_does_not_lie_under():
    bank, job = poisoned_bank(2), make_job("off", 1)
    (alone,) = bank.run([job])
    module = "model.layers.0.self_attn.q_proj"
    tensors = {
        f"base_model.model.{module}.lora_A.weight": 1.7e308 * torch.ones(1, 32, dtype=torch.float64).numpy(),
        f"base_model.model.{module}.lora_B.weight": torch.ones(32, 1, dtype=torch.float64).numpy(),
    }
    bank.load("large", Adapter(1, 1.0, ("q_proj",), tensors))
    results = {result.key: result for result in bank.run([job, make_job("on", 2, base="large")])}
    assert results["on"].failure is not None
    assert_same(results["off"], alone)


def test_a_text_gone_to_nan_fails_its_own_trial_and_no_other():
    poisoned = make_job("poisoned", 2, texts=(TokenText.of((), (5, POISON, 6, 7)),))
    jobs = [make_job("before", 1), poisoned, make_job("after", 4)]
    results = run(jobs, slots=3)
    assert results["poisoned"].failure == Failure("data", "the loss is not finite at step 0")
    for job in (jobs[0], jobs[2]):
        assert_same(results[job.key], run([job], slots=3)[job.key])


@pytest.mark.parametrize("asked", ["prompts", "statements"])
def test_an_adapter_that_predicts_no_numbers_is_a_failure_and_not_an_answer(asked):
    question = {
        "prompts": {"prompts": ((5, POISON),)},
        "statements": {"statements": (TokenText.of((5, POISON), (6,)),)},
    }
    jobs = [make_job("it", 1), make_job("broken", 2, **question[asked])]
    results = run(jobs, slots=2)
    assert results["broken"].failure == Failure("data", "the predictions are not finite")
    assert results["broken"].answers == ()
    assert_same(results["it"], run([jobs[0]], slots=2)["it"])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_sampled_text_is_cut_where_no_number_is_left_and_those_beside_it_are_as_alone(temperature, caplog):
    prompts = [prompt for prompt in make_prompts(6, seed=3) if POISON not in prompt]
    specs = [SampleSpec(prompt, seed=n, temperature=temperature, max_new_tokens=5) for n, prompt in enumerate(prompts)]
    broken = SampleSpec((5, POISON, 6), seed=9, temperature=temperature, max_new_tokens=5)
    with caplog.at_level(logging.WARNING):
        cut, *others = poisoned_bank(1).sample([broken, *specs])
    assert (cut.ids, cut.text, cut.finished) == ((), "", False)
    assert "0 tokens after a prompt of 3, the predictions are not finite in torch.float64" in caplog.text
    assert others == [poisoned_bank(1).sample([spec])[0] for spec in specs]


def test_texts_scored_beside_one_gone_to_nan_are_as_alone():
    texts = [TokenText.of((), (5, POISON, 7)), *(text for text in make_texts(5, seed=5) if POISON not in text.ids)]
    broken, *scores = poisoned_bank(1).log_probs(texts)
    assert broken[1] != broken[1]
    assert scores == [poisoned_bank(1).log_probs([text])[0] for text in texts[1:]]
