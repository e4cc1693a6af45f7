"""A tiny random Llama over bytes, made on the spot, and adapters for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seal_ray.adapters.lora import Adapter, tensor_names

WIDTH, INNER, LAYERS, CONTEXT = 64, 128, 2, 256
SHAPES = {"q_proj": (WIDTH, WIDTH), "v_proj": (WIDTH, WIDTH), "o_proj": (WIDTH, WIDTH), "down_proj": (INNER, WIDTH)}


def write_model(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<end>", *letters]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_adapter(
    seed: int, rank: int = 4, targets: tuple[str, ...] = ("q_proj", "v_proj"), size: float = 0.4
) -> Adapter:
    """An adapter as strong as `size` says; 0 gives one that changes nothing."""
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for target in targets:
            part = "mlp" if target == "down_proj" else "self_attn"
            name_a, name_b = tensor_names(f"model.layers.{layer}.{part}.{target}")
            width_in, width_out = SHAPES[target]
            tensors[name_a] = random.normal(0, 1 / np.sqrt(width_in), (rank, width_in)).astype(np.float32)
            tensors[name_b] = random.normal(0, size, (width_out, rank)).astype(np.float32)
    return Adapter(rank, 2.0 * rank, targets, tensors)


class Reference:
    """The same model through Transformers and PEFT: what the engine has to agree with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_probs(self, ids: list[int], adapter: Adapter | None, scratch: Path) -> list[float]:
        import torch

        with torch.no_grad():
            logits_TV = self._model(adapter, scratch)(torch.tensor([ids])).logits[0].log_softmax(-1)
        return [float(logits_TV[at, token]) for at, token in enumerate(ids[1:])]

    def greedy(self, ids: list[int], adapter: Adapter | None, scratch: Path, count: int) -> list[int]:
        import torch

        model = self._model(adapter, scratch)
        with torch.no_grad():
            out = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=count, do_sample=False)
        return out[0, len(ids) :].tolist()

    def _model(self, adapter: Adapter | None, scratch: Path):  # type: ignore[no-untyped-def]
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.folder).eval()
        if adapter is None:
            return model
        adapter.save(scratch)
        return PeftModel.from_pretrained(model, str(scratch)).eval()
