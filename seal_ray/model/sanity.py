"""Whether a model that was converted is still one: a language model finds plain sentences likelier than noise does."""

from __future__ import annotations

import math
from typing import Any

from seal_ray.types import UserError

SENTENCES = {
    "English": (
        "The sun rises in the east and sets in the west.",
        "She opened the door and saw that it was raining outside.",
        "Water boils at one hundred degrees and freezes at zero.",
        "In the morning the children walk to school with their friends.",
    ),
    "German": (
        "Die Sonne geht im Osten auf und im Westen unter.",
        "Am Morgen gehen die Kinder mit ihren Freunden zur Schule.",
    ),
    "Chinese": ("太阳从东边升起,在西边落下。", "早上,孩子们和朋友们一起走路去上学。"),
    "Japanese": ("太陽は東から昇り、西に沈みます。", "朝、子どもたちは友だちと一緒に学校へ行きます。"),
}
"""Plain sentences; a model need know one of these languages."""
MOST = 1.7
"""Bits a byte. Models of 135 and 270 million parameters need 1.0 and 0.9; one that babbles needed 2.1."""


def bits_per_byte(model: Any, tokenizer: Any, texts: tuple[str, ...]) -> float:
    """How many bits the model needs for a byte of these texts."""
    import torch

    nats = 0.0
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text).input_ids
            logits_TV = model(torch.tensor([ids])).logits[0, :-1].double()
            nats -= float(logits_TV.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None]).sum())
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def refuse_babbling(model: Any, tokenizer: Any) -> None:
    """Refuse a model that knows none of the languages well enough to be one."""
    found = {language: bits_per_byte(model, tokenizer, texts) for language, texts in SENTENCES.items()}
    best = min(found, key=lambda language: found[language])
    if not found[best] <= MOST:  # nor is what is no number
        raise UserError(
            f"what comes out of it babbles: {found[best]:.1f} bits a byte of plain {best}, where a language model "
            f"needs less than {MOST:g}; give the original model as a folder or by its name on the hub"
        )
