"""The model a bench runs on: an architecture by name with random weights, or a model's own folder."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from seal_ray.model.architecture import TABLE, Shape
from seal_ray.model.locate import local_copy, resolve
from seal_ray.types import UserError

SHAPES = TABLE | {
    "llama-30m": Shape(8, 512, 1408, 8, 8, 64, 8192, True),
    "qwen2.5-tiny": Shape(2, 32, 64, 2, 1, 16, 256, False),
}


def build(shape: str, path: str, dtype: str, device: str, tokens: int) -> tuple[Any, Any]:
    """A frozen model on its device and a tokenizer; `tokens` is the longest text it must take."""
    if path:
        return _load(path, dtype, device)
    if shape not in SHAPES:
        raise UserError(f"--shape {shape!r} is unknown; known: {', '.join(sorted(SHAPES))}")
    model = random_model(shape, SHAPES[shape], getattr(torch, dtype), device, tokens)
    return model, numbers_tokenizer(SHAPES[shape].vocabulary)


def random_model(name: str, shape: Shape, dtype: torch.dtype, device: str, tokens: int) -> Any:
    """Made where it will be, in its own precision: a large one fits nowhere else."""
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

    kind = {"qwen2.5": Qwen2Config, "qwen3": Qwen3Config}.get(name.partition("-")[0], LlamaConfig)
    config = kind(
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=tokens,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.requires_grad_(False).eval()


def numbers_tokenizer(vocabulary: int) -> Any:
    """Token 7 reads "7", and no token ends a text: every answer runs to its full length."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({str(token): token for token in range(vocabulary)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", pad_token="0")


def twin(model: nn.Module) -> Any:
    """A second model on the same weights, so that what is hung on one does not slow the other."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def _load(path: str, dtype: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = local_copy(resolve(path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True)
    except (OSError, ValueError) as error:
        raise UserError(f"--model {path!r}: cannot be loaded: {str(error).splitlines()[0]}") from None
    return model.requires_grad_(False).eval().to(device), tokenizer
