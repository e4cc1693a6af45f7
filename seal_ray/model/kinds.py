"""What kind of model a config.json describes: one that continues text, or another; and what of it is not adapted."""

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


_EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})
_MAMBA = frozenset({"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"})


def not_adapted(model_type: str, experts: bool) -> frozenset[str]:
    """Names of linear modules on which PEFT would not read an adapter as it was trained.

    In a model with experts it takes such names for the experts, those of shared and dense layers too. In some with
    Mamba, whose kernels pass an adapter over there, it refuses the name.
    """
    return (_EXPERTS if experts else frozenset()) | ({"out_proj"} if model_type in _MAMBA else frozenset())
