"""What passages in turn say otherwise than the base knows, or than an earlier passage, on record before they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from seal_ray.domains.base import Contradicts, Domain
from seal_ray.loop.asked import asked_once
from seal_ray.record.rows import ContradictedRow, prompt_text
from seal_ray.types import Example, Policy, Prompt, Task, Trial, content_key

if TYPE_CHECKING:
    from seal_ray.loop.session import Session

_FIRMNESS = "how firmly what passages contradict is known"


async def note_contradicted(session: Session, orders: Sequence[Sequence[Task]], start: Policy) -> None:
    """Put on record what each order says otherwise than was said before, and how firmly this policy holds that."""
    known = {row.key for row in session.journal.read(ContradictedRow)}
    for sequence, order in enumerate(orders):
        for place, rows in groupby(contradicted(session.domain, order, sequence), key=lambda row: row.place):
            await _note(session, [*rows], order[place], start, known)


async def _note(session: Session, rows: Sequence[ContradictedRow], task: Task, start: Policy, known: Set[str]) -> None:
    """Record the rows of one passage. It is asked by itself, so that its trial depends on no other passage."""
    if all(row.key in known for row in rows):
        return
    held = [row for row in rows if row.earlier < 0]
    likely: dict[str, float] = {}
    if held:
        said = (Example(row.answer, task.questions[row.question].prompt, whole=False) for row in held)
        trial = Trial.reading(_FIRMNESS, start.adapter, said)
        found = (await asked_once(session, start, trial)).log_likelihoods
        likely = {row.key: value for row, value in zip(held, found, strict=True)}
    for row in rows:
        if row.key not in known:
            session.events.emit(replace(row, firmness=math.exp(likely[row.key])) if row.key in likely else row)


def contradicted(domain: Domain, order: Sequence[Task], sequence: int = 0) -> Iterator[ContradictedRow]:
    """The questions of an order that an earlier passage answers otherwise, or else the base.

    What a passage asks twice contradicts nothing: it may have two answers.
    """
    said: dict[str, tuple[str, int, int]] = {}
    for place, task in enumerate(order):
        own: dict[str, tuple[str, int, int]] = {}
        held = domain.held_before(task) if isinstance(domain, Contradicts) else [""] * len(task.questions)
        for number, (question, known) in enumerate(zip(task.questions, held, strict=True)):
            asked = _same(question.prompt)
            answer, *earlier = said.get(asked, (known, -1, -1))
            if answer.split() not in ([], question.answer.split()):
                key = content_key("contradicted", sequence, place, task.id, number)
                yield ContradictedRow(key, sequence, place, number, answer, None, *earlier)
            own[asked] = question.answer, place, number
        said |= own


def _same(prompt: Prompt) -> str:
    return " ".join(prompt_text(prompt).split())
