"""What a grader is: verdicts on answers, as probabilities of being right."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seal_ray.grading.text import f1, normalized
from seal_ray.plain import counted
from seal_ray.types import Ask, UserError, is_share


@dataclass(frozen=True)
class Item:
    """One answer to be judged against the gold answer."""

    question: str
    gold: str
    answer: str
    title: str = ""
    """What the question is about, where it does not say so itself."""


class Grader(Protocol):
    async def grade(self, items: Sequence[Item]) -> list[float]:
        """One verdict per item: 1 right, 0 wrong, or the probability of being right."""
        ...


@runtime_checkable
class AsksBase(Protocol):
    """A grader that queries the run's own base."""

    def connect(self, ask: Ask) -> None:
        """Set what it queries; a run gives it its samplers once they are there."""
        ...


@runtime_checkable
class Connected(Protocol):
    """A grader with connections."""

    async def close(self) -> None: ...


@runtime_checkable
class Priced(Protocol):
    """A grader that somebody pays for."""

    def cost(self) -> dict[str, float]:
        """What it has used so far, by name."""
        ...


@runtime_checkable
class Graded(Protocol):
    """A domain whose answers a grader judges, which may be one of a user's own."""

    grader: Grader


def grader_of(domain: object) -> Grader | None:
    """The grader of a domain that has one; others judge answers themselves."""
    return domain.grader if isinstance(domain, Graded) else None


async def judged(grader: Grader, items: Sequence[Item]) -> tuple[float, ...]:
    """What a grader says of each item; `UserError` where that is no verdict on each, as of one of a user's own."""
    given = tuple(await grader.grade(items))
    who = f"grading.name: the grader {type(grader).__name__}"
    if len(given) != len(items):
        found = f"{counted(len(given), 'verdict')} on {counted(len(items), 'answer')}"
        raise UserError(f"{who} gave {found}; it has to give one on each")
    if wrong := [value for value in given if not is_share(value)]:
        raise UserError(f"{who} gave {wrong[0]!r} as a verdict; one is a number from 0, wrong, to 1, right")
    return given


class Exact:
    """Right when the answer is the gold answer, case, punctuation and articles aside."""

    async def grade(self, items: Sequence[Item]) -> list[float]:
        return await asyncio.to_thread(lambda: [self._verdict(item) for item in items])

    @staticmethod
    def _verdict(item: Item) -> float:
        return float(bool(item.answer.strip()) and normalized(item.gold) == normalized(item.answer))


class F1:
    """The overlap of words with the gold answer, between 0 and 1."""

    async def grade(self, items: Sequence[Item]) -> list[float]:
        return await asyncio.to_thread(lambda: [f1(item.gold, item.answer) for item in items])
