"""What kind of model a config.json describes: one that continues text, or another; and what of it is not adapted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_CONTINUES = re.compile(r"(CausalLM|LMHeadModel)$")
_READS_PICTURES_TOO = "ForConditionalGeneration"
"""So some that also take pictures are called; the part of them that writes continues text."""

KNOWN = (
    "give a decoder with softmax attention, as Llama, Gemma or Mistral, or one that also has short convolutions, Gated "
    "DeltaNet or Mamba-2, as LFM2, Qwen3.5 or Granite 4"
)
"""What the bank can compute, as the end of a line that refuses something else."""
_OWN = "has an attention of its own making"
_MAMBA_1 = "has Mamba layers that go on from a state by one token alone"
UNFIT = {
    **dict.fromkeys(("bloom", "codegen", "gptj", "openai-gpt", "rwkv"), _OWN),
    **dict.fromkeys(("jamba", "mamba"), _MAMBA_1),
    "llama4_text": "attends in chunks",
    "doge": "has masks of its own",
    "minimax": "has lightning attention, whose states are not kept apart",
    "recurrent_gemma": "has recurrent blocks, whose states are not kept apart",
}
"""Types of models that the bank is known not to fit, so that this can be said before any is loaded."""


def is_named(path: str, target: str) -> bool:
    """Whether an adapter's target names the module of this path, as PEFT matches them: at its end."""
    return f".{path}".endswith(f".{target}")


def why_no_base(config: Mapping[str, Any]) -> str:
    """Why a model cannot be trained as a base: it does not continue text, or not in a way the bank can compute.

    Empty where nothing speaks against it.
    """
    names = [str(name) for name in config.get("architectures") or ()]
    kind, asked = names[0] if names else config.get("model_type", "it"), "a base continues text, as Llama or Qwen does"
    if config.get("is_encoder_decoder"):
        return f"{kind} reads one text and writes another; {asked}"
    types = [config.get("model_type"), (config.get("text_config") or {}).get("model_type")]
    if unfit := next((UNFIT[name] for name in types if name in UNFIT), None):
        return f"{kind} {unfit}; {KNOWN}"
    writes = [_CONTINUES.search(n) or (n.endswith(_READS_PICTURES_TOO) and "text_config" in config) for n in names]
    return f"{kind} writes no text; {asked}" if names and not any(writes) else ""


_EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3", "gate", "router"})
_MAMBA = frozenset({"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"})


def not_adapted(model_type: str, experts: bool) -> frozenset[str]:
    """Names of linear modules on which PEFT would not read an adapter as it was trained.

    In a model with experts it takes such names for the experts, those of shared and dense layers too. In some with
    Mamba, whose kernels pass an adapter over there, it refuses the name.
    """
    return (_EXPERTS if experts else frozenset()) | ({"out_proj"} if model_type in _MAMBA else frozenset())
