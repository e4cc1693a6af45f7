"""How varied texts are: what in them was not said before, and which of them hardly differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean

from seal_ray.record.unspaced import UNSPACED, spaced

ORDERS = {1: "words", 2: "pairs", 3: "triples"}
"""Lengths of the n-grams that are looked at, and what each is called."""
_WORD = re.compile(rf"{UNSPACED.pattern}|\w+")
_ALIKE = 0.8
_MOST = 64
"""Texts of a task that are held to each other."""


def words(text: str) -> list[str]:
    """The words of a text, in small letters; of a script that sets no spaces between them, each character."""
    return [found[0] for found in _WORD.finditer(spaced(text.lower()))]


def distinct(lines: Iterable[Sequence[str]], n: int) -> float | None:
    """The share of n-grams that are new where they stand; none reaches over a line. None where there are none."""
    grams = [tuple(line[i : i + n]) for line in lines for i in range(len(line) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def variety(texts_of_tasks: Iterable[Sequence[str]]) -> dict[str, float]:
    """How varied the texts of a task are, as means over tasks.

    `distinct words` and so on are shares of n-grams that were not said before, `said again` that of lines that were,
    and `near duplicates` that of texts which hardly differ from an earlier one of their task.
    """
    found: dict[str, list[float]] = {}
    for texts in texts_of_tasks:
        lines = [line for text in texts for line in map(words, text.splitlines()) if line]
        shares = {f"distinct {name}": distinct(lines, n) for n, name in ORDERS.items()}
        if shares["distinct pairs"] is None:
            continue
        shares["said again"] = 1 - len(set(map(tuple, lines))) / len(lines)
        shares["near duplicates"] = fmean(near_duplicates(texts[:_MOST]))
        for name, share in shares.items():
            if share is not None:
                found.setdefault(name, []).append(share)
    return {name: fmean(shares) for name, shares in found.items()}


def near_duplicates(texts: Sequence[str]) -> list[bool]:
    """For each text, whether it shares four fifths of the pairs of words that either has with an earlier text."""
    seen: list[frozenset[tuple[str, ...]]] = []
    again: list[bool] = []
    for text in texts:
        said = words(text)
        pairs = frozenset(pairwise(said)) if len(said) > 1 else frozenset([tuple(said)])
        again.append(any(len(pairs & other) >= _ALIKE * len(pairs | other) for other in seen))
        seen.append(pairs)
    return again
