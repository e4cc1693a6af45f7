"""Tiny GGUF files, and a tiny model that has learnt the sentences by which a language model is told from noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants

WIDTH, INNER, LAYERS, HEADS, KV_HEADS, CONTEXT, EPSILON, THETA = 64, 128, 2, 4, 2, 1024, 1e-5, 10_000.0
END, START = "<|im_end|>", "<|im_start|>"
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
MERGES = ["t h", "Ġ a"]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def vocabulary() -> list[str]:
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [END, START, *letters, *(merge.replace(" ", "") for merge in MERGES)]


def make_llama(learnt: bool) -> Any:
    """A random Llama over bytes; one that has learnt knows the sentences of `sanity` by heart."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=EPSILON,
        rope_theta=THETA,
        bos_token_id=1,
        eos_token_id=0,
        initializer_range=0.1,
    )
    model = LlamaForCausalLM(config)
    return _taught(model) if learnt else model.eval()


def _taught(model: Any) -> Any:
    import torch

    from seal_ray.model.sanity import SENTENCES

    tokenizer = make_tokenizer()
    rows = [tokenizer(text).input_ids for text in SENTENCES["English"]]
    longest = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    labels_BT = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        model(input_ids=ids_BT, labels=labels_BT).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def make_tokenizer() -> Any:
    """What the file's own tokenizer has to agree with."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.BPE(words, [tuple(merge.split(" ")) for merge in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=START)


def write_gguf(
    file: Path,
    model: Any,
    architecture: str = "llama",
    template: str | None = CHAT,
    packed: GGMLQuantizationType | None = None,
    left_out: str = "",
    begins: bool | None = None,
    parts: int = 1,
) -> Path:
    """A model's file as llama.cpp's converter writes it.

    `packed` quantises its matrices; `begins` says whether every text begins with a token of its own; of several
    `parts` this is one.
    """
    writer = GGUFWriter(file, architecture)
    writer.add_name("a tiny one")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(THETA)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3, 3, *[1] * (len(vocabulary()) - 2)])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    if begins is not None:
        writer.add_add_bos_token(begins)
    if template is not None:
        writer.add_chat_template(template)
    if parts > 1:
        writer.add_uint16("split.count", parts)
    for name, tensor in tensors_of(model).items():
        if name != left_out:
            _add(writer, name, tensor, packed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add(writer: GGUFWriter, name: str, tensor: np.ndarray, packed: GGMLQuantizationType | None) -> None:
    if packed is None or tensor.ndim < 2:
        writer.add_tensor(name, tensor)
    else:
        writer.add_tensor(name, quants.quantize(tensor, packed), raw_dtype=packed)


def tensors_of(model: Any) -> Mapping[str, np.ndarray]:
    """Weights under GGUF's names, queries and keys in its order."""
    found = {}
    for name, parameter in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        prefix = ""
        if module.startswith("model.layers."):
            _, _, layer, module = module.split(".", 3)
            prefix = f"blk.{layer}."
        tensor = parameter.detach().float().numpy()
        if module.endswith(("q_proj", "k_proj")):
            tensor = permuted(tensor, HEADS if module.endswith("q_proj") else KV_HEADS)
        found[f"{prefix}{NAMES[module]}.{kind}"] = np.ascontiguousarray(tensor)
    return found


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """The halves of each head's rotation, which Transformers keeps apart, side by side."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)
