"""How well a word stands for another: equal stems, near spellings, shared beginnings, and `synonyms.txt`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from seal_ray.grading.text import stem

FOUND = 0.8
"""A match from here on counts as the word itself."""
SYNONYM, SPELLING, PREFIX = 0.8, 0.9, 0.6
_NO_GROUP: frozenset[int] = frozenset()

_GROUPS: dict[str, set[int]] = defaultdict(set)
for _n, _line in enumerate(Path(__file__).with_name("synonyms.txt").read_text(encoding="utf-8").splitlines()):
    for _word in _line.split():
        _GROUPS[stem(_word)].add(_n)


def best_match(word: str, pool: Iterable[str]) -> float:
    """How well the best of a pool of stems stands for this one, from 0 to 1."""
    return max((match(word, other) for other in pool), default=0.0)


@lru_cache(maxsize=1 << 18)
def match(word: str, other: str) -> float:
    if word == other:
        return 1.0
    if word[0].isdigit() or other[0].isdigit():
        return 0.0
    if _GROUPS.get(word, _NO_GROUP) & _GROUPS.get(other, _NO_GROUP):
        return SYNONYM
    shared, longer = _shared_beginning(word, other), max(len(word), len(other))
    if shared >= 4 and shared >= 0.6 * longer:
        return SPELLING
    # Two slips change the set of letters by four at most, which is cheap to see.
    if min(len(word), len(other)) > 4 and abs(len(word) - len(other)) <= 2 and len({*word} ^ {*other}) <= 4:
        slips = _distance(word, other)
        if slips <= 1:
            return SPELLING
        if slips == 2 and min(len(word), len(other)) >= 7:
            return SYNONYM
    return PREFIX if shared >= 5 else 0.0


def trigram_share(wanted: str, text: str) -> float:
    """The share of a text's letter triples that stand in another."""
    triples = {wanted[i : i + 3] for i in range(len(wanted) - 2)}
    if not triples:
        return float(wanted in text)
    return len(triples & {text[i : i + 3] for i in range(len(text) - 2)}) / len(triples)


def longest_run(wanted: str, text: str) -> float:
    """The longest piece of a text that stands in another, as a share of it."""
    longest = 0
    for start in range(len(wanted)):
        while start + longest < len(wanted) and wanted[start : start + longest + 1] in text:
            longest += 1
    return longest / max(1, len(wanted))


def _shared_beginning(word: str, other: str) -> int:
    for count, (a, b) in enumerate(zip(word, other, strict=False)):
        if a != b:
            return count
    return min(len(word), len(other))


def _distance(word: str, other: str) -> int:
    """Insertions, deletions and replacements between two words."""
    above = list(range(len(other) + 1))
    for i, a in enumerate(word, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]
