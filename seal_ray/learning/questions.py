"""Questions about each passage, written by a model and checked: those that choose, and those that are reported.

A server is asked about whole passages. The base itself is asked about one sentence after another: a small model asks of
a passage the same few things again, and what is to be known is all of it.

A question counts if the model answers it rightly with the passage in sight; whether it can without does not matter, or
what is reported would flatter. No two ask the same. A passage that has too few is asked again, with another seed, once
more. What a small model answers in words of its own is mostly made up ("What is Finch?" – "a tool to measure birds
with"): such a question of the base's may choose, for that is what the base would say, but it is not reported.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from seal_ray.domains.knowledge.questions import NEXT, parse_questions, shown_prompt, stands_in, worth_asking
from seal_ray.domains.knowledge.sentences import sentences
from seal_ray.domains.knowledge.studied import IN_SIGHT, Pair, Studied, StudiedTask
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.grading.text import normalized
from seal_ray.loop.place import Place
from seal_ray.loop.session import Session
from seal_ray.loop.synthetic_questions import QuestionWriter
from seal_ray.types import DataError, Task

logger = logging.getLogger(__name__)

ENOUGH, TRIES, _MOST = 2, 2, 10
"""Good questions of a passage that are enough; how often it is asked for more; and how many are taken at a time."""
_TOKENS, _OF_A_SENTENCE = 200, 72
"""Of what is written about a passage at a time, and about a sentence."""
_RIGHT = 0.5


@dataclass
class _Asked:
    """What is known of one passage's questions."""

    task: Task
    good: list[Pair] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """All that were looked at, good or not."""


async def questioned(session: Session, domain: Studied, tasks: Sequence[Task]) -> list[StudiedTask]:
    """The tasks with the questions that passed, divided between choosing and being reported; some may have none."""
    writer, every = QuestionWriter(session), [_Asked(task) for task in tasks]
    for again in range(TRIES):
        few = [asked for asked in every if len(asked.good) < ENOUGH]
        if few:
            await _once_more(session, domain, writer, few, again)
    by_base = not session.config.questions.endpoint
    studied = [
        domain.asked(asked.task, *divided(asked.good, within=asked.task.context if by_base else None))
        for asked in every
    ]
    if none := sum(not asked.good for asked in every):
        logger.warning("%d of %d passages got no good question; they are learnt as they stand", none, len(every))
    return studied


async def _once_more(
    session: Session, domain: Studied, writer: QuestionWriter, every: Sequence[_Asked], again: int
) -> None:
    """Have questions written about these passages, and keep those that are answered rightly with the passage in sight.

    `again` is how often that was done before.
    """
    stage = f"questions, try {again + 1}"
    session.events.emit(StageBegan(stage, len(every)))
    whole = bool(session.config.questions.endpoint)
    tokens = _TOKENS if whole else _OF_A_SENTENCE

    async def written(asked: _Asked) -> list[Pair]:
        task = asked.task
        about = [task.context] if whole else sentences(task.context)
        texts = await all_of(writer.write(task.id, shown_prompt(task.title, part), again, tokens) for part in about)
        session.events.emit(Advanced(stage))
        return [pair for text in texts for pair in _fresh(asked, text)]

    found = await all_of(map(written, every))
    session.events.emit(StageBegan(f"{stage}: trials", sum(map(len, found))))

    async def right(asked: _Asked, number: int, pair: Pair) -> bool:
        place = Place(stage, IN_SIGHT, asked.task.id, number)
        tried = await session.runner.try_baseline(place, IN_SIGHT, domain.single(asked.task, pair))
        return not tried.problem and tried.reward >= _RIGHT

    async def pass_on(asked: _Asked, pairs: Sequence[Pair]) -> None:
        passed = await all_of([right(asked, number, pair) for number, pair in enumerate(pairs)])
        asked.good += [pair for pair, fine in zip(pairs, passed, strict=True) if fine]

    await all_of(map(pass_on, every, found))


def _fresh(asked: _Asked, text: str) -> list[Pair]:
    """The questions of a completion that are worth asking and were not looked at before."""
    try:
        pairs = parse_questions(text.partition(NEXT)[0], _MOST)
    except DataError:
        return []
    return worth_asking(pairs, asked.task.context, asked.seen)


def divided(pairs: Sequence[Pair], within: str | None = None) -> tuple[list[Pair], list[Pair]]:
    """Questions that choose and questions that are reported, in turn; those with the same answer stay together.

    Reported are only those whose answer stands in the text that they are held to be `within`, if there is one.
    """
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    side_of: dict[str, int] = {}
    for question, answer in pairs:
        reportable = within is None or stands_in(answer, within)
        side = side_of.setdefault(normalized(answer), int(reportable and len(sides[0]) > len(sides[1])))
        sides[side].append((question, answer))
    return sides
