"""Scripts that set no spaces between words: what counts as a word in them."""

from __future__ import annotations

import re
import unicodedata

MARKS = "".join([mark for mark in map(chr, range(0x300, 0x12000)) if unicodedata.category(mark)[0] == "M"])
UNSPACED = re.compile(
    f"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff][{MARKS}]*)"
)
"""A Thai, Lao, Burmese, Khmer, Japanese or Chinese character and the marks on it: written without spaces, each counts
as a word."""


def spaced(text: str) -> str:
    """The text with spaces around every character of a script that has none."""
    return UNSPACED.sub(r" \1 ", text)
