"""How many tokens a text has, by the model's own tokenizer where that is on this machine. No torch here."""

from __future__ import annotations

import re
from collections.abc import Callable

from seal_ray.model.tokens import tokenizer_of
from seal_ray.types import Prompt, plain_text

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|\n")


def counter(path: str, opened: bool = False) -> tuple[Callable[[Prompt], float], str]:
    """Counts the tokens of a prompt for the model of this path; and what is to be said of how.

    A text that is `opened` has the tokens that the tokenizer puts around any text, too.
    """
    if tokenizer := tokenizer_of(path):
        return lambda prompt: float(len(tokenizer.encode(plain_text(prompt), add_special_tokens=opened).ids)), ""
    note = "the model's tokenizer is not here: tokens are counted as words, digits and marks"
    return lambda prompt: float(len(_PIECES.findall(plain_text(prompt)))), note
