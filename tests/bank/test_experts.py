"""A model with experts: adapters sit on its attention, and which expert takes a token is that token's affair alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from seal_ray.bank import Bank, Job
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import SHAPE, make_prompts, make_texts, make_tokenizer, peft_tensors, train_alone
from tests.bank.test_generate import generate_alone

LOCAL = {**SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2}
MANY = {**SHAPE, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
EXPERTS: dict[str, dict[str, Any]] = {
    "gpt_oss": {**LOCAL, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]},
    "mixtral": LOCAL,
    "qwen3_moe": MANY,
    "qwen2_moe": {**MANY, "shared_expert_intermediate_size": 16},
    "lfm2_moe": {**MANY, "layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
}
TARGETS = {"qwen2_moe": ("q_proj", "shared_expert_gate"), "lfm2_moe": ("q_proj", "in_proj")}


def make_moe(kind: str, dtype: torch.dtype, experts: str | None) -> Any:
    """With `experts` None they are computed as Transformers does by itself, which knows no double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            CONFIG_MAPPING[kind](**EXPERTS[kind]), attn_implementation="eager", experts_implementation=experts
        )
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.2) if parameter.dim() > 1 else parameter.data.normal_(1, 0.5)
    return model.to(dtype).eval()


@pytest.mark.parametrize("kind", EXPERTS)
def test_a_trial_is_the_trial_alone_with_peft(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    # Routers and norms compute in single precision whatever the model's own is.
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    targets, prompts = TARGETS.get(kind, ("q_proj", "v_proj", "o_proj")), make_prompts(4, seed=6)
    asked = {"prompts": prompts, "max_new_tokens": 8, "keep_adapter": True}
    it = Job("it", make_texts(5, seed=4), LoraSpec(4, 8.0, targets), OptimSpec(1e-2, 3, 2), 7, **asked)
    other = Job("other", make_texts(3, seed=5, low=30, high=40), LoraSpec(2, 4.0, ("q_proj",)), OptimSpec(1e-2, 4), 8)
    bank = Bank(make_moe(kind, torch.float64, "eager"), make_tokenizer(), slots=2)
    result = {found.key: found for found in bank.run([it, other])}["it"]
    peft, losses = train_alone(make_moe(kind, torch.float64, "eager"), it)
    assert result.losses == pytest.approx(losses, abs=1e-9)
    for name, tensor in peft_tensors(peft).items():
        assert (torch.from_numpy(result.adapter.tensors[name]) - tensor).abs().max() < 1e-8, name
    result.adapter.save(tmp_path)
    adapted = PeftModel.from_pretrained(make_moe(kind, torch.float64, "eager"), tmp_path)
    assert result.answers == tuple(generate_alone(adapted, prompt, 8) for prompt in prompts)


@pytest.mark.parametrize("kind", EXPERTS)
def test_which_expert_takes_a_token_does_not_depend_on_the_company_of_its_text(kind: str) -> None:
    model, texts = make_moe(kind, torch.float32, None), make_texts(12, seed=1, high=40)
    bank = Bank(model, make_tokenizer(), slots=1)
    together = bank.log_probs(texts)
    for text, scores in zip(texts, together, strict=True):
        with torch.no_grad():
            alone_TV = model(input_ids=torch.tensor([text.ids])).logits[0].log_softmax(-1)
        expected = alone_TV[:-1].gather(1, torch.tensor(text.ids[1:])[:, None])[:, 0].numpy()
        np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=0)
        np.testing.assert_allclose(scores, bank.log_probs([text])[0], atol=1e-4, rtol=0)
