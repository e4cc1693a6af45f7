"""What passages in turn say otherwise than the base knows, or than an earlier passage, on record before they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from seal_ray.domains.base import Contradicts, Domain
from seal_ray.loop.asked import asked_each
from seal_ray.record.rows import ContradictedRow, prompt_text
from seal_ray.types import Example, Policy, Prompt, Task, Trial, content_key

if TYPE_CHECKING:
    from seal_ray.loop.session import Session

_FIRMNESS = "how firmly what passages contradict is known"


async def note_contradicted(session: Session, orders: Sequence[Sequence[Task]], start: Policy) -> None:
    """Put on record what each order says otherwise than was said before, and how firmly this policy holds that.

    A passage is asked by itself, so that its trial depends on no other passage.
    """
    known = {row.key for row in session.journal.read(ContradictedRow)}
    passages = [
        (order[place], list(rows))
        for sequence, order in enumerate(orders)
        for place, rows in groupby(contradicted(session.domain, order, sequence), key=lambda row: row.place)
    ]
    new = [(task, rows) for task, rows in passages if not all(row.key in known for row in rows)]
    asked = [(task, held) for task, rows in new if (held := [row for row in rows if row.earlier < 0])]
    found = await asked_each(session, start, [_reading(start, *each) for each in asked])
    likely = {
        row.key: value
        for (_, held), outcome in zip(asked, found, strict=True)
        for row, value in zip(held, outcome.log_likelihoods, strict=True)
    }
    for row in (row for _, rows in new for row in rows if row.key not in known):
        session.events.emit(replace(row, firmness=math.exp(likely[row.key])) if row.key in likely else row)


def _reading(start: Policy, task: Task, held: Sequence[ContradictedRow]) -> Trial:
    """How likely this policy holds what was said before of a passage's questions."""
    said = (Example(row.answer, task.questions[row.question].prompt, whole=False) for row in held)
    return Trial.reading(_FIRMNESS, start.adapter, said)


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
