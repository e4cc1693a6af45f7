"""How far predictions are from a reference's: over the whole vocabulary, of every learnt token."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel

from seal_ray.adapters.merge import stack
from seal_ray.bank import Bank, Job, loss
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_texts, make_tokenizer
from tests.bank.test_adapter import trained

TEXTS = make_texts(5, seed=9)
ONE, OTHER = "one", "other"


@pytest.fixture(scope="module")
def adapters():
    return {key: trained(LoraSpec(4, 8.0, ALL), seed).adapter for seed, key in enumerate((ONE, OTHER))}


def make_bank(adapters):
    bank = Bank(make_model(), make_tokenizer(), slots=8)
    bank.load_missing(adapters)
    return bank


def job(key, base, reference, **more):
    return Job(key, None, statements=TEXTS, base=base, reference=reference, **more)


def by_hand(folders, base, reference):
    """A loop over one model for each, a text and a token at a time."""
    models = [
        PeftModel.from_pretrained(make_model(), folders[key], autocast_adapter_dtype=False) if key else make_model()
        for key in (reference, base)
    ]
    found = []
    for text in TEXTS:
        with torch.no_grad():
            first_TV, now_TV = (model(torch.tensor([text.ids])).logits[0].log_softmax(-1) for model in models)
        each = [
            sum((first.exp() * (first - now)).tolist())
            for first, now, learnt in zip(first_TV, now_TV, text.learn[1:], strict=False)
            if learnt
        ]
        found.append(sum(each) / len(each))
    return found


def test_divergences_are_those_of_a_loop_over_two_models_whatever_is_beside_and_in_however_many_pieces(
    adapters, tmp_path, monkeypatch
):
    pairs = [("", ONE), (ONE, ""), (ONE, OTHER), (OTHER, OTHER), (OTHER, None)]
    bank = make_bank(adapters)
    for key, adapter in adapters.items():
        adapter.save(tmp_path / key)
    bank.training.max_tokens_per_microbatch = 20
    monkeypatch.setattr(loss, "CHUNK_ON_CPU", 3 * bank.vocabulary)  # three tokens at a time
    found = {result.key: result for result in bank.run(job(f"{pair}", *pair) for pair in pairs)}
    for pair in pairs[:3]:
        expected = by_hand({key: tmp_path / key for key in adapters}, *pair)
        assert min(expected) > 1e-3
        np.testing.assert_allclose(found[f"{pair}"].divergences, expected, rtol=0, atol=1e-12)
    assert found[f"{(OTHER, OTHER)}"].divergences == (0.0,) * len(TEXTS)
    assert found[f"{(OTHER, None)}"].divergences == ()
    assert len({result.log_likelihoods for result in found.values()}) == 3, "a reference changes nothing else"


def test_what_a_job_trains_diverges_from_what_lies_below_it_as_the_sum_of_both_does(adapters):
    bank = make_bank(adapters)
    training = {"texts": make_texts(4, seed=4), "lora": LoraSpec(4, 8.0, ("q_proj",)), "optim": OptimSpec(1e-2, 3, 2)}
    (result,) = bank.run([replace(job("trained", ONE, ONE, keep_adapter=True), **training)])
    assert min(result.divergences) > 1e-6
    bank.load("both", stack(adapters[ONE], result.adapter))
    (again,) = bank.run([job("again", "both", ONE)])
    np.testing.assert_allclose(result.divergences, again.divergences, rtol=0, atol=1e-12)


def test_a_reference_stays_resident_for_as_long_as_a_job_needs_it(adapters):
    bank = make_bank(adapters)
    bank.submit(job("it", "", ONE))
    assert bank.in_use() == {"", ONE}
    with pytest.raises(RuntimeError, match="jobs in the bank start from 'one'"):
        bank.drop(ONE)
    bank.step()
    bank.drop(ONE)
    with pytest.raises(ValueError, match="no adapter is loaded as 'one'"):
        bank.submit(job("late", "", ONE))
