"""Sentences of two documents that say the same but for one place: perhaps one of them is no longer true.

No model is asked, and nothing is decided: both are taught, and whoever gave the documents is told.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from seal_ray.domains.knowledge.sentences import sentences
from seal_ray.grading.text import spaced, words
from seal_ray.plain import counted, one_line, visible

_APART, _COMMON = 3, 0.6
"""Words that the place may have, on either side; and the least share of a sentence that both have in common."""
_EDGE = 2
"""Words at one of its ends that any such pair has in common."""
_USUAL = 500
"""Sentences that begin or end alike, above which that tells nothing."""
_SHOWN, _LONGEST = 5, 160
"""Pairs that are told of one by one, and characters of a sentence."""


@dataclass(frozen=True)
class Said:
    """A sentence, and the document that it stands in."""

    source: str
    sentence: str

    def __str__(self) -> str:
        return f"{visible(self.source)} says “{one_line(self.sentence, _LONGEST)}”"


def clashes(file: Path) -> list[tuple[Said, Said]]:
    """The pairs among these passages, in their order, each once."""
    said = list(dict.fromkeys(_said(file)))
    if len({each.source for each in said}) < 2:
        return []
    by_word = [words(spaced(each.sentence)) for each in said]
    alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, found in enumerate(by_word):
        if len(found) > _EDGE:
            alike["begins", *found[:_EDGE]].append(number)
            alike["ends", *found[-_EDGE:]].append(number)
    pairs = {
        (one, other)
        for group in alike.values()
        if len(group) <= _USUAL
        for one, other in combinations(group, 2)
        if said[one].source != said[other].source and differ_in_one_place(by_word[one], by_word[other])
    }
    return [(said[one], said[other]) for one, other in sorted(pairs)]


def differ_in_one_place(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a few words of one stand where the other has other ones, and all else is the same."""
    shorter = min(len(one), len(other))
    before = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    after = next((n for n in range(shorter - before) if one[-1 - n] != other[-1 - n]), shorter - before)
    same = before + after
    apart = len(one) - same, len(other) - same
    return min(apart) > 0 and max(apart) <= _APART and same >= _COMMON * max(len(one), len(other))


def told(found: Sequence[tuple[Said, Said]]) -> list[str]:
    """A line for each of the first few, and one for how many more there are."""
    lines = [
        f"{one}, and {other}: both are taught; if only one is true, take out the other" for one, other in found[:_SHOWN]
    ]
    more = len(found) - _SHOWN
    return [*lines, f"{counted(more, 'more pair')} of sentences differ so"] if more > 0 else lines


def _said(file: Path) -> Iterator[Said]:
    with file.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            for sentence in sentences(row["context"]):
                yield Said(row["source"], sentence)
