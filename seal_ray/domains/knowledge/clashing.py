"""Sentences of two texts that say the same but for one place: perhaps one of them is no longer true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from seal_ray.grading.text import words
from seal_ray.plain import one_line, visible
from seal_ray.record.unspaced import spaced

_APART, _COMMON = 3, 0.6
"""Words that the place may have, on either side; and the least share of a sentence that both have in common."""
EDGE = 2
"""Words at one of its ends that any such pair has in common."""
_USUAL = 500
"""Sentences that begin or end alike, above which that tells nothing."""
_LONGEST = 160
"""Characters of a sentence that are told."""


@dataclass(frozen=True)
class Said:
    """A sentence, and the text that it stands in."""

    source: str
    sentence: str

    def __str__(self) -> str:
        return f"{visible(self.source)} says “{one_line(self.sentence, _LONGEST)}”"


def pairs(said: Sequence[Said]) -> list[tuple[Said, Said]]:
    """Pairs of sentences from two texts that differ in one place only, in their order, each once."""
    said = list(dict.fromkeys(said))
    if len({each.source for each in said}) < 2:
        return []
    by_word = [_words(each.sentence) for each in said]
    alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, found in enumerate(by_word):
        if len(found) > EDGE:
            alike["begins", *found[:EDGE]].append(number)
            alike["ends", *found[-EDGE:]].append(number)
    clashing = {
        (one, other)
        for group in alike.values()
        if len(group) <= _USUAL
        for one, other in combinations(group, 2)
        if said[one].source != said[other].source and differ_in_one_place(by_word[one], by_word[other])
    }
    return [(said[one], said[other]) for one, other in sorted(clashing)]


def of_one_thing(one: Said, other: Said) -> bool:
    """Whether both begin alike, as sentences of one and the same thing do."""
    first, second = (_words(each.sentence)[:EDGE] for each in (one, other))
    return first == second


def differ_in_one_place(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a few words of one stand where the other has other ones, and all else is the same."""
    shorter = min(len(one), len(other))
    before = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    after = next((n for n in range(shorter - before) if one[-1 - n] != other[-1 - n]), shorter - before)
    same = before + after
    apart = len(one) - same, len(other) - same
    return min(apart) > 0 and max(apart) <= _APART and same >= _COMMON * max(len(one), len(other))


def _words(sentence: str) -> list[str]:
    """Its words; a number is one with its sign."""
    return " ".join(words(spaced(sentence))).replace("minus ", "minus-").split()
