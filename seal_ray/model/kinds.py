"""What kind of model a config.json describes: one that continues text, or another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_CONTINUES = re.compile(r"(CausalLM|LMHeadModel)$")
_READS_PICTURES_TOO = "ForConditionalGeneration"
"""So some that also take pictures are called; the part of them that writes continues text."""


def why_no_base(config: Mapping[str, Any]) -> str:
    """Why a model cannot be trained as a base: it is an encoder, or of something else than text. Empty where it can."""
    names = [str(name) for name in config.get("architectures") or ()]
    kind, asked = names[0] if names else config.get("model_type", "it"), "a base continues text, as Llama or Qwen does"
    if config.get("is_encoder_decoder"):
        return f"{kind} reads one text and writes another; {asked}"
    writes = [_CONTINUES.search(n) or (n.endswith(_READS_PICTURES_TOO) and "text_config" in config) for n in names]
    return f"{kind} writes no text; {asked}" if names and not any(writes) else ""
