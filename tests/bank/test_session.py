"""An adapter driven from outside ends as the bank's own job does, whatever the bank is busy with meanwhile."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seal_ray.bank import DPO, KL, Bank, BankSession, TokenText
from seal_ray.bank.optim import batch_order, lr_factor
from seal_ray.bank.prepare import anchor_batches
from seal_ray.types import DataError, LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_texts, make_tokenizer
from tests.bank.test_neighbours import assert_same, neighbours
from tests.bank.test_objectives import JOBS
from tests.bank.test_residents import KEYS, make_bank


def driven(bank, job, between=lambda: None):
    """A loop of one's own around a job's texts; the losses, and the adapter."""
    session = BankSession(bank, job.lora, job.seed, job.base)
    size = job.objective.texts_per_example if job.objective else 1
    order = batch_order(len(job.texts) // size, job.optim, job.seed)
    anchors = anchor_batches(len(job.anchor_examples), len(order), job)
    losses = []
    for step, batch in enumerate(order):
        texts = [job.texts[size * index + n] for index in batch for n in range(size)]
        losses.append(session.forward_backward(texts, job.objective).loss)
        if anchors:
            texts = [job.anchor_examples[index] for index in anchors[step]]
            losses[-1] += session.forward_backward(texts, KL(), job.kl_coef).loss
        session.optim_step(replace(job.optim, lr=job.optim.lr * lr_factor(job.optim, step, len(order))))
        between()
    return losses, session.save()


def assert_equal(found, result):
    losses, adapter = found
    np.testing.assert_allclose(losses, result.losses, rtol=0, atol=1e-9)
    assert adapter.tensors.keys() == result.adapter.tensors.keys()
    for name, tensor in adapter.tensors.items():
        np.testing.assert_allclose(tensor, result.adapter.tensors[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("key", JOBS)
def test_a_loop_of_ones_own_equals_the_banks_job_beside_other_jobs_and_over_another_adapter(key):
    job, others = replace(JOBS[key], base=KEYS[3]), neighbours(6)
    bank = make_bank(slots=3, keys=KEYS[3:5])
    expected, alone = {result.key: result for result in bank.run([job])}[key], list(bank.run(others))
    for other in others:
        bank.submit(other)
    beside = []
    assert_equal(driven(bank, job, between=lambda: beside.extend(bank.step())), expected)
    assert beside, "jobs were finished meanwhile"
    beside += bank.run([])
    found = {result.key: result for result in beside}
    assert len(found) == len(beside) == len(alone)
    for result in alone:
        assert_same(found[result.key], result)


def test_gradients_add_up_until_a_step_is_taken():
    texts, optim = make_texts(6, seed=1), OptimSpec(1e-2)
    saved = []
    for parts in ([texts], [texts[:2], texts[2:]]):
        session = BankSession(Bank(make_model(), make_tokenizer(), slots=1), LoraSpec(4, 8.0, ALL), seed=3)
        learnt = [sum(map(sum, (text.learn[1:] for text in part))) for part in parts]
        for _ in range(4):
            for part, count in zip(parts, learnt, strict=True):
                session.forward_backward(part, coef=count / sum(learnt))
            session.optim_step(optim)
        assert session.steps == 4
        saved.append(session.save().tensors)
    for name, tensor in saved[0].items():
        np.testing.assert_allclose(tensor, saved[1][name], rtol=0, atol=1e-11)


def test_what_is_saved_is_a_start_for_jobs_and_texts_and_stays_as_it_was():
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    session, texts = BankSession(bank, LoraSpec(4, 8.0, ALL)), make_texts(3, seed=1)
    for _ in range(5):
        metrics = session.forward_backward(texts)
        session.optim_step(OptimSpec(2e-2))
    bank.load("learnt", session.save())
    scores = bank.log_probs(texts, "learnt")
    assert -np.mean(np.concatenate(scores)) < metrics.loss < -np.mean(np.concatenate(bank.log_probs(texts)))
    session.forward_backward(texts)
    session.optim_step(OptimSpec(2e-2))
    assert bank.log_probs(texts, "learnt") == scores


def test_the_adapter_below_a_session_stays_as_long_as_it_does():
    bank = make_bank(keys=KEYS[:1])
    session = BankSession(bank, LoraSpec(2, 2.0, ("q_proj",)), base=KEYS[0])
    with pytest.raises(RuntimeError, match="start from 'adapter-0'"):
        bank.drop(KEYS[0])
    del session
    bank.drop(KEYS[0])
    with pytest.raises(ValueError, match="no adapter is loaded as 'adapter-0'"):
        BankSession(bank, LoraSpec(2, 2.0, ("q_proj",)), base=KEYS[0])


def test_a_batch_or_an_adapter_that_cannot_be_trained_is_said():
    bank = Bank(make_model(), make_tokenizer(), slots=1, max_length=5)
    with pytest.raises(DataError, match='no linear module is named "nowhere"'):
        BankSession(bank, LoraSpec(2, 2.0, ("nowhere",)))
    session = BankSession(bank, LoraSpec(2, 2.0, ALL))
    with pytest.raises(DataError, match="no token of the batch carries loss"):
        session.forward_backward([TokenText.of((5, 6), ())])
    with pytest.raises(DataError, match="1 texts are no whole number of examples of 2"):
        session.forward_backward(make_texts(1, seed=1), DPO())
    long = TokenText.of((), (5,) * 9)
    assert session.forward_backward([long]).warnings == ("text 0: 9 tokens cut to 5",)
    session.optim_step(OptimSpec(float("inf")))
    with pytest.raises(DataError, match="the weights are not finite"):
        session.save()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_learns_as_well(dtype):
    bank = Bank(make_model(dtype=dtype), make_tokenizer(), slots=1)
    session, texts = BankSession(bank, LoraSpec(4, 8.0, ALL)), make_texts(3, seed=1)
    losses = []
    for _ in range(12):
        losses.append(session.forward_backward(texts).loss)
        session.optim_step(OptimSpec(1e-2))
    assert losses[-1] < losses[0] / 2
