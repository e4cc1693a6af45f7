"""Adapters leave the bank as PEFT folders, add up, shrink, and lie under other adapters."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from seal_ray.adapters.merge import compress, stack
from seal_ray.bank import Adapter, Bank, Job
from seal_ray.types import ALL_LINEAR, LoraSpec, OptimSpec, UserError
from tests.bank.small import ALL, CONFIGS, make_model, make_prompts, make_texts, make_tokenizer, padded


def trained(lora, seed, dtype=torch.float64, family="llama", bank=None, **changes):
    job = Job("it", make_texts(6, seed), lora, OptimSpec(2e-2, 3, 2), seed, keep_adapter=True)
    bank = bank or Bank(make_model(family, dtype), make_tokenizer(), slots=1)
    (result,) = bank.run([replace(job, **changes)])
    return result


def peft_logits(model, folder, texts):
    inputs = padded(texts)
    inputs.pop("labels")
    with torch.no_grad():
        return PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)(**inputs).logits


def log_probs_of(logits_RTV, texts):
    every = logits_RTV.double().log_softmax(-1)
    return [
        [every[row, at, text.ids[at + 1]].item() for at in range(len(text.ids) - 1) if text.learn[at + 1]]
        for row, text in enumerate(texts)
    ]


@pytest.mark.parametrize("family", CONFIGS)
def test_an_exported_adapter_loaded_by_peft_gives_the_banks_own_probabilities(family, tmp_path):
    texts = make_texts(5, seed=9)
    result = trained(LoraSpec(4, 8.0, ALL), 3, torch.float32, family, statements=texts)
    result.adapter.save(tmp_path)
    theirs = log_probs_of(peft_logits(make_model(family, torch.float32), tmp_path, texts), texts)
    np.testing.assert_allclose(result.log_likelihoods, [np.mean(values) for values in theirs], rtol=0, atol=1e-4)
    bank = Bank(make_model(family, torch.float32), make_tokenizer(), slots=1)
    untouched = bank.log_probs(texts)
    bank.load("exported", Adapter.load(tmp_path))
    for ours, values, before in zip(bank.log_probs(texts, "exported"), theirs, untouched, strict=True):
        np.testing.assert_allclose(ours, values, rtol=0, atol=1e-4)
        assert np.abs(np.subtract(ours, before)).max() > 1e-2


@pytest.mark.parametrize("family", CONFIGS)
def test_all_linear_is_every_module_that_peft_takes_it_for_and_leaves_as_a_folder_that_peft_reads(family, tmp_path):
    result = trained(LoraSpec(4, 8.0, (ALL_LINEAR,)), 3, torch.float32, family)
    theirs = get_peft_model(make_model(family), LoraConfig(r=4, target_modules=ALL_LINEAR, task_type="CAUSAL_LM"))
    assert set(result.adapter.modules) == set(theirs.base_model.targeted_module_names)
    result.adapter.save(tmp_path)
    read = PeftModel.from_pretrained(make_model(family, torch.float32), tmp_path)
    assert set(read.base_model.targeted_module_names) == set(result.adapter.modules)


def test_two_adapters_of_different_rank_scale_and_targets_stack_to_one_that_equals_both(tmp_path):
    a = trained(LoraSpec(3, 9.0, ("q_proj", "v_proj")), 1).adapter
    b = trained(LoraSpec(5, 4.0, ("v_proj", "down_proj")), 2).adapter
    both = stack(a, b)
    assert (both.rank, set(both.targets)) == (8, {"q_proj", "v_proj", "down_proj"})
    both.save(tmp_path / "both")
    model = make_model()
    for adapter in (a, b):
        for module in adapter.modules:
            down, up = adapter.pair(module)
            model.get_submodule(module).weight.data += adapter.scale * torch.from_numpy(up @ down)
    texts = make_texts(4, seed=3)
    inputs = padded(texts)
    inputs.pop("labels")
    with torch.no_grad():
        merged = model(**inputs).logits
    stacked = peft_logits(make_model(), tmp_path / "both", texts)
    assert (merged - stacked).abs().max() < 1e-10


def test_adapters_of_equal_scale_stack_without_touching_a_number():
    a, b = (trained(LoraSpec(3, 6.0, ("q_proj",)), seed).adapter for seed in (1, 2))
    both = stack(a, b)
    assert both.scale == a.scale
    for name, tensor in both.tensors.items():
        axis = 0 if "lora_A" in name else 1
        assert np.array_equal(tensor, np.concatenate([a.tensors[name], b.tensors[name]], axis))
    assert stack(a, b, a).ref == stack(both, a).ref, "as many at once come to the same"


def test_compression_is_the_best_one_and_reports_its_error():
    adapter = trained(LoraSpec(8, 16.0, ALL), 1).adapter
    small, error = compress(adapter, 3)
    assert small.rank == 3
    lost = total = best = 0.0
    for module in adapter.modules:
        down, up = adapter.pair(module)
        whole = adapter.scale * up @ down
        down, up = small.pair(module)
        assert down.shape[0] == up.shape[1] == 3
        lost += ((whole - small.scale * up @ down) ** 2).sum()
        total += (whole**2).sum()
        best += (np.linalg.svd(whole, compute_uv=False)[3:] ** 2).sum()
    assert error == pytest.approx((lost / total) ** 0.5, rel=1e-6)
    assert lost == pytest.approx(best, rel=1e-6)
    assert 0.01 < error < 1


def test_a_stack_of_an_adapter_with_itself_compresses_to_its_own_rank_without_loss():
    adapter = trained(LoraSpec(4, 4.0, ALL), 1).adapter
    small, error = compress(stack(adapter, adapter), 4)
    assert error < 1e-7
    assert compress(small, 4) == (small, 0.0)
    for module in adapter.modules:
        down, up = adapter.pair(module)
        small_down, small_up = small.pair(module)
        np.testing.assert_allclose(small.scale * small_up @ small_down, 2 * adapter.scale * up @ down, atol=1e-10)


def test_a_trial_over_the_policy_equals_one_trained_by_peft_over_a_merged_policy():
    policy = trained(LoraSpec(3, 9.0, ("q_proj", "up_proj")), 1).adapter
    merged = make_model()
    for module in policy.modules:
        down, up = policy.pair(module)
        merged.get_submodule(module).weight.data += policy.scale * torch.from_numpy(up @ down)
    lora, prompts, texts = LoraSpec(4, 8.0, ("q_proj", "v_proj")), make_prompts(4, 2), make_texts(3, 8)
    asked = {"prompts": prompts, "max_new_tokens": 8, "statements": texts}
    bank = Bank(make_model(), make_tokenizer(), slots=2)
    bank.load("policy", policy)
    over = Job("over", make_texts(6, 5), lora, OptimSpec(2e-2, 3, 2), 5, keep_adapter=True, base="policy", **asked)
    results = {result.key: result for result in bank.run([over, replace(over, key="base", base="")])}
    for key, model in (("over", merged), ("base", make_model())):
        alone = trained(lora, 5, bank=Bank(model, make_tokenizer(), slots=1), **asked)
        assert results[key].answers == alone.answers
        np.testing.assert_allclose(results[key].losses, alone.losses, rtol=0, atol=1e-11)
        np.testing.assert_allclose(results[key].log_likelihoods, alone.log_likelihoods, rtol=0, atol=1e-11)
        for name, tensor in alone.adapter.tensors.items():
            np.testing.assert_allclose(results[key].adapter.tensors[name], tensor, rtol=0, atol=1e-11)
    assert results["over"].losses[0] != pytest.approx(results["base"].losses[0], abs=1e-3)


def test_the_model_is_as_it_was_when_the_bank_is_not_at_work():
    texts = make_texts(4, seed=3)
    inputs = padded(texts)
    model = make_model()
    before = model(**inputs).logits
    bank = Bank(model, make_tokenizer(), slots=1)
    bank.load("trained", trained(LoraSpec(2, 8.0, ALL), 1, bank=bank).adapter)
    assert torch.equal(model(**inputs).logits, before)


def test_an_adapter_for_another_base_is_refused():
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    adapter = Adapter(
        2,
        2.0,
        ("q_proj",),
        {
            "base_model.model.elsewhere.q_proj.lora_A.weight": np.zeros((2, 32)),
            "base_model.model.elsewhere.q_proj.lora_B.weight": np.zeros((32, 2)),
        },
    )
    with pytest.raises(ValueError, match=r"elsewhere\.q_proj"):
        bank.load("elsewhere", adapter)


NO_PLAIN_LORA = [
    ({"use_dora": True}, "use_dora"),
    ({"r": None}, None),
    ({"target_modules": "all-linear"}, "target_modules 'all-linear' is not supported"),
    ({"target_modules": [1, "q_proj"]}, "target_modules .* is not supported"),
    ({"target_modules": 1}, "target_modules 1 is not supported"),
    ({"lora_alpha": 10**400}, "are no adapter's"),
]


@pytest.mark.parametrize(("change", "said"), NO_PLAIN_LORA)
def test_a_folder_that_is_no_plain_lora_is_refused_with_the_reason(change, said, tmp_path):
    trained(LoraSpec(2, 8.0, ("q_proj",)), 1).adapter.save(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(UserError, match=said or "not a PEFT adapter folder"):
        Adapter.load(tmp_path)


def test_memory_per_slot_is_what_the_buffers_hold():
    bank = Bank(make_model(dtype=torch.float32), make_tokenizer(), slots=3)
    lora = LoraSpec(4, 8.0, ALL)
    for number in range(3):
        bank.submit(Job(f"{number}", make_texts(6, number), lora, OptimSpec(epochs=5), number))
    bank.step()
    (cohort,) = bank.training.cohorts
    held = sum(buffer.untyped_storage().nbytes() for buffer in cohort.buffers_SP)
    assert held == 3 * bank.memory_per_slot(lora)


def test_a_folder_that_is_not_there_is_refused_without_a_code_of_the_system(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: not a PEFT adapter folder; give one with adapter_config\.json and"):
        Adapter.load(tmp_path / "nowhere")
