"""A trial in the bank is the trial alone with PEFT."""

import functools

import pytest
import torch

from seal_ray.bank import Bank, layout
from tests.bank.small import make_model, make_tokenizer, peft_tensors, recipes, train_alone


@functools.cache
def alone(dtype, key):
    """One of the recipes trained with PEFT, which knows nothing of how a bank lays out its rows: once for both ways."""
    (job,) = (job for job in recipes() if job.key == key)
    peft, losses = train_alone(make_model(dtype=dtype), job)
    return peft_tensors(peft), losses


@pytest.mark.slow
@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize(
    ("dtype", "loss_bound", "weight_bound"), [(torch.float64, 1e-9, 1e-8), (torch.float32, 1e-4, None)]
)
def test_eight_recipes_through_three_slots_equal_each_alone_with_peft(
    dtype, loss_bound, weight_bound, one_by_one, monkeypatch
):
    if one_by_one:  # as larger models are multiplied and attended
        monkeypatch.setattr(layout, "PADDING", 0)
        monkeypatch.setattr(layout, "LEAST", 0)
    jobs = recipes()
    bank = Bank(make_model(dtype=dtype), make_tokenizer(), slots=3)
    results = {result.key: result for result in bank.run(jobs)}
    assert len(results) == len(jobs)
    for job in jobs:
        result = results[job.key]
        theirs, losses = alone(dtype, job.key)
        assert result.failure is None
        assert result.steps == len(losses) == len(result.losses) >= 50
        assert max(abs(ours - theirs) for ours, theirs in zip(result.losses, losses, strict=True)) < loss_bound
        assert theirs.keys() == result.adapter.tensors.keys()
        if weight_bound is not None:
            for name, tensor in theirs.items():
                assert (torch.from_numpy(result.adapter.tensors[name]) - tensor).abs().max() < weight_bound, name
