"""A real model from its GGUF file is the model that is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

from seal_ray.model.architecture import model_shape
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.model.sanity import SENTENCES, bits_per_byte
from seal_ray.model.template import is_instruct
from seal_ray.types import Message
from seal_ray.workers.engines.text import render_prompt
from tests.model.gguf_files import NAMES

PLAIN = "Once upon a time, in 1984, a clock struck thirteen; nobody in the town had heard of such a thing."


@pytest.fixture(scope="module")
def spec(real_model: Path) -> ModelSpec:
    return ModelSpec(str(real_model), None, "float32", 2048)


@pytest.fixture(scope="module")
def model(spec: ModelSpec) -> Any:
    return load_model(spec)


def built_by_hand(file: Path) -> LlamaForCausalLM:
    """Nothing of Transformers' reading: each tensor dequantised by itself, into a Llama of the file's numbers."""
    reader = GGUFReader(file)

    def said(key: str) -> Any:
        field = reader.get_field(f"llama.{key}")
        assert field
        return field.contents()

    heads, kv_heads, layers = said("attention.head_count"), said("attention.head_count_kv"), said("block_count")
    tensors = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    config = LlamaConfig(
        vocab_size=len(tensors["token_embd.weight"]),
        hidden_size=said("embedding_length"),
        intermediate_size=said("feed_forward_length"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        rms_norm_eps=said("attention.layer_norm_rms_epsilon"),
        rope_theta=said("rope.freq_base"),
        max_position_embeddings=said("context_length"),
        tie_word_embeddings="output.weight" not in tensors,
    )
    state = {}
    for inside, outside in NAMES.items():
        for layer in range(layers) if "proj" in inside or "layernorm" in inside else [None]:
            name = f"model.layers.{layer}.{inside}" if layer is not None else inside
            weight = tensors.get(f"blk.{layer}.{outside}.weight" if layer is not None else f"{outside}.weight")
            if weight is not None:
                turned = {"attn_q": heads, "attn_k": kv_heads}.get(outside)
                state[f"{name}.weight"] = torch.from_numpy(apart(weight, turned) if turned else np.array(weight))
    built = LlamaForCausalLM(config)
    missing = built.load_state_dict(state, strict=False).missing_keys
    assert missing == (["lm_head.weight"] if config.tie_word_embeddings else [])
    built.tie_weights()
    return built.eval()


def apart(weight: np.ndarray, heads: int) -> np.ndarray:
    """The two halves of each head's rotation, which the file has side by side."""
    rows, width = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, width)
    return np.concatenate([pairs[:, :, 0], pairs[:, :, 1]], axis=1).reshape(rows, width)


def test_its_logits_are_those_of_the_file_dequantised_by_hand(real_model: Path, spec: ModelSpec, model: Any) -> None:
    ids = torch.tensor([load_tokenizer(spec)(PLAIN).input_ids])
    with torch.no_grad():
        ours, by_hand = model(ids).logits, built_by_hand(real_model)(ids).logits
    torch.testing.assert_close(ours, by_hand, rtol=0, atol=1e-3)
    assert (ours - by_hand).abs().max() < 1e-4 * ours.abs().max()


def test_it_answers_a_question_in_its_own_format(spec: ModelSpec, model: Any) -> None:
    tokenizer = load_tokenizer(spec)
    ids = torch.tensor([render_prompt(tokenizer, (Message("user", "Who wrote Hamlet?"),))])
    with torch.no_grad():
        out = model.generate(ids, max_new_tokens=24, do_sample=False)
    answer = tokenizer.decode(out[0, ids.shape[1] :])
    assert "Shakespeare" in answer
    assert tokenizer.decode(tokenizer(PLAIN).input_ids) == PLAIN


def test_it_is_known_for_what_it_is(spec: ModelSpec, model: Any) -> None:
    assert is_instruct(spec.path)
    assert model_shape(spec.path).parameters == sum(parameter.numel() for parameter in model.parameters())
    assert bits_per_byte(model, load_tokenizer(spec), SENTENCES["English"]) < 1.2
