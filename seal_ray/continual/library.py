"""A way that keeps an adapter for each passage, and takes for each question the one whose passage is about it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from itertools import chain, pairwise

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Keeps, Lesson, Likelihoods, Stand
from seal_ray.continual.plain import Merge
from seal_ray.grading.text import LITTLE_WORDS, words
from seal_ray.record.unspaced import UNSPACED
from seal_ray.types import Task

_LETTERS = re.compile(r"\b[A-Z]{2,}\b")
_WORD, _BREAK = re.compile(r"\w+"), re.compile(r"[\n:.?!]")
RARE = math.log(2)
"""How rare a word must be among the passages, at least, to say which of them a question is about."""
COVERED = 0.2
"""How much of a question that names nothing a passage must hold, rare words counting more."""


class Library(Merge):
    """Every passage is learnt from where the stream began, by itself; the policy that no passage is about stays."""

    keeps: Keeps = "apart"

    def base(self, stand: Stand) -> Adapter | None:
        return stand.start

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return stand.head

    def lessons_for(self, questions: Sequence[str], lessons: Sequence[Lesson]) -> list[int | None]:
        return nearest(questions, [read_of(lesson.task) for lesson in lessons])


def read_of(task: Task) -> str:
    """What is looked at of a passage that questions may be about."""
    return f"{task.title}\n{task.context}"


def nearest(questions: Sequence[str], passages: Sequence[str]) -> list[int | None]:
    """For each question the passage with most of its words, rare ones counting more; none if it has only common ones.

    A question that names things is about a passage that names most of them: another person of the same first name is
    another person. Of passages that say as much of it the latest is taken, which may say another thing.
    """
    held = [_telling(passage) for passage in passages]
    rarity = _rarity(held)
    return [_nearest(question, held, rarity) for question in questions]


class Index:
    """Passages, to be found by their words: each word knows where it stands, so that no question reads them all."""

    def __init__(self, passages: Sequence[str]) -> None:
        held = [_terms(passage) for passage in passages]
        self._count, self._rarity = len(held), _rarity(held)
        self._places: dict[str, list[int]] = {word: [] for word in self._rarity}
        for place, each in enumerate(held):
            for word in each:
                self._places[word].append(place)

    def closest(self, question: str, most: int) -> list[int]:
        """So many passages with most of its words, rare ones counting more; the closest comes first.

        Where nothing says which passage a question is about, those are found that share most with it nevertheless.
        """
        shared = [0.0] * self._count
        for word in sorted(_terms(question) & self._rarity.keys()):
            for place in self._places[word]:
                shared[place] += self._rarity[word]
        return nsmallest(most, range(self._count), key=lambda place: -shared[place])


def _rarity(held: Sequence[set[str]]) -> dict[str, float]:
    """How much a word says of which passage is meant."""
    common = Counter(word for each in held for word in each)
    return {word: math.log((1 + len(held)) / count) for word, count in common.items()}


def _nearest(question: str, held: Sequence[set[str]], rarity: Mapping[str, float]) -> int | None:
    asked, named = _telling(question), _names(question)
    shared = [asked & each if 2 * len(named & each) > len(named) or not named else set() for each in held]
    worth = [sum(rarity[word] for word in sorted(each)) for each in shared]
    best = max(reversed(range(len(held))), key=worth.__getitem__, default=None)
    if best is None or max((rarity[word] for word in shared[best]), default=0.0) < RARE:
        return None
    whole = sum(rarity.get(word, math.log(1 + len(held))) for word in sorted(asked))
    return best if named or worth[best] >= COVERED * whole else None


def _telling(text: str) -> set[str]:
    """Its words, but for those that tell nothing: of few passages one alone may have them, and be about no question."""
    letters = {found.lower() for found in _LETTERS.findall(text)}  # the US, the WHO and IT are no little words
    return _terms(text) - (LITTLE_WORDS - letters)


def _terms(text: str) -> set[str]:
    """Its words; of a script that sets no spaces between them, each two characters that stand side by side."""
    return set(chain.from_iterable(_pairs(word) for word in words(text)))


def _pairs(word: str) -> list[str]:
    return ["".join(pair) for pair in pairwise(UNSPACED.findall(word))] or [word]


def _names(question: str) -> set[str]:
    """The words that begin with a capital, but not those that begin a line, a sentence, or what follows a colon."""
    parts = (_WORD.findall(part) for part in _BREAK.split(question))
    return _telling(" ".join(word for part in parts for word in part[1:] if word[0].isupper()))
