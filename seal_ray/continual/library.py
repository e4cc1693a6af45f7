"""A way that keeps an adapter for each passage, and takes for each question the one whose passage is about it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Lesson, Likelihoods, Stand
from seal_ray.continual.plain import Merge
from seal_ray.grading.text import words

_WORD = re.compile(r"\w+")
RARE = math.log(2)
"""How rare a word must be among the passages, at least, to say which of them a question is about."""


class Library(Merge):
    """Every passage is learnt from where the stream began, by itself; the policy that no passage is about stays."""

    def base(self, stand: Stand) -> Adapter | None:
        return stand.start

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return stand.head

    def lesson_for(self, question: str, lessons: Sequence[Lesson]) -> int | None:
        return nearest(question, [f"{lesson.task.title}\n{lesson.task.context}" for lesson in lessons])


def nearest(question: str, passages: Sequence[str]) -> int | None:
    """The passage with most of a question's words, rare ones counting more; none where it has only common ones.

    A question that names things is about a passage that names most of them: another person of the same first name is
    another person.
    """
    held = [set(words(passage)) for passage in passages]
    common = Counter(word for each in held for word in each)
    rarity = {word: math.log((1 + len(held)) / count) for word, count in common.items()}
    asked, named = set(words(question)), _names(question)
    shared = [asked & each if 2 * len(named & each) > len(named) or not named else set() for each in held]
    worth = [sum(rarity[word] for word in sorted(each)) for each in shared]
    best = max(range(len(held)), key=worth.__getitem__, default=None)
    if best is None or max((rarity[word] for word in shared[best]), default=0.0) < RARE:
        return None
    return best


def _names(question: str) -> set[str]:
    """The words of a question that begin with a capital, but for its first."""
    _, *later = _WORD.findall(question) or [""]
    return set(words(" ".join(word for word in later if word[0].isupper())))
