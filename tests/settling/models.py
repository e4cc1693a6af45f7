"""Models as far as settling looks at them: their small files, and weights that nobody loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49_152,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
"""The shape of a model of 135 million parameters."""
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def model(folder: Path, eos: str = "<|im_end|>", template: str | None = CHATML, **config: Any) -> Path:
    """A folder that says it is a model of that kind."""
    folder.mkdir(parents=True)
    tokenizer = {"eos_token": eos, "added_tokens_decoder": {"2": {"content": "<|im_end|>"}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps(SMOLLM2 | config))
    names = [f"model.layers.0.self_attn.{name}.weight" for name in LINEARS]
    save_file({name: np.zeros((2, 2), np.float32) for name in names}, folder / "model.safetensors")
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder
