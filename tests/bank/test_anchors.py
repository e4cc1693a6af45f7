"""Anchor examples: texts on which the model is to go on predicting what it did without the adapter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seal_ray.bank import Bank, Job
from seal_ray.bank.loss import kl_and_grad
from seal_ray.bank.prepare import anchor_batches
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_texts, make_tokenizer

ANCHORS = make_texts(5, seed=9)
JOB = Job(
    "taught",
    make_texts(4, seed=4),
    LoraSpec(8, 8.0, ALL),
    OptimSpec(1e-2, 40, 4),
    seed=7,
    statements=ANCHORS,
    anchor_examples=ANCHORS,
    kl_coef=10.0,
    keep_adapter=True,
)


def run(*jobs, **kwargs):
    bank = Bank(make_model(), make_tokenizer(), slots=3, **kwargs)
    return {result.key: result for result in bank.run(jobs)}


def test_anchor_examples_stay_as_likely_as_they_were_while_the_texts_are_learnt():
    found = run(JOB, replace(JOB, key="free", kl_coef=0.0), replace(JOB, key="before", texts=None))
    before = np.array(found["before"].log_likelihoods)
    moved = {key: np.abs(np.array(found[key].log_likelihoods) - before).max() for key in ("taught", "free")}
    assert moved["taught"] < 0.1 < 0.3 < moved["free"]
    assert found["taught"].losses[-1] < found["taught"].losses[0] / 5


def test_with_no_weight_they_are_as_if_not_there():
    found = run(replace(JOB, kl_coef=0.0), replace(JOB, key="alone", anchor_examples=()))
    assert found["taught"].losses == found["alone"].losses
    assert found["taught"].tokens == found["alone"].tokens


def test_the_first_step_moves_nothing_so_its_loss_is_that_of_the_taught_texts_alone():
    found = run(JOB, replace(JOB, key="alone", anchor_examples=()))
    assert found["taught"].losses[0] == pytest.approx(found["alone"].losses[0], abs=1e-12)


@pytest.mark.slow
def test_neighbours_and_split_passes_change_nothing():
    together = run(
        JOB,
        replace(JOB, key="other", seed=8, anchor_examples=make_texts(2, seed=3)),
        replace(JOB, key="free", anchor_examples=()),
    )
    for result in (run(JOB)["taught"], run(JOB, max_tokens_per_microbatch=9)["taught"]):
        np.testing.assert_allclose(result.losses, together["taught"].losses, rtol=0, atol=1e-11)
        for name, tensor in result.adapter.tensors.items():
            np.testing.assert_allclose(tensor, together["taught"].adapter.tensors[name], rtol=0, atol=1e-11)


def test_the_reference_is_the_policy_that_lies_under_the_adapter():
    policy = run(replace(JOB, anchor_examples=()))["taught"].adapter
    bank = Bank(make_model(), make_tokenizer(), slots=2)
    bank.load("policy", policy)
    job = replace(JOB, base="policy")
    untrained = replace(job, key="before", texts=None)
    found = {result.key: result for result in bank.run([job, untrained])}
    np.testing.assert_allclose(found["taught"].log_likelihoods, found["before"].log_likelihoods, atol=0.1)


def test_there_is_a_batch_for_every_step_and_all_texts_take_turns():
    order = anchor_batches(5, 7, JOB)
    assert [len(batch) for batch in order] == [4, 1, 4, 1, 4, 1, 4]
    assert sorted(order[0] + order[1]) == sorted(order[2] + order[3]) == [0, 1, 2, 3, 4]
    assert anchor_batches(0, 7, JOB) == ()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_gradient_is_that_of_the_divergence(dtype):
    torch.manual_seed(0)
    now, reference, weights = torch.randn(6, 11, dtype=dtype), torch.randn(6, 11, dtype=dtype), torch.rand(6).double()
    wanted = now.double().requires_grad_()
    before = reference.double().log_softmax(1)
    apart = (before.exp() * (before - wanted.log_softmax(1))).sum(1)
    (apart * weights).sum().backward()
    losses, grad = kl_and_grad(now.clone(), reference, weights)
    bound = 1e-12 if dtype == torch.float64 else 5e-3
    torch.testing.assert_close(losses.double(), apart.detach(), atol=bound, rtol=0)
    torch.testing.assert_close(grad.double(), wanted.grad, atol=bound, rtol=0)
