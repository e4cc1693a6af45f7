"""What is odd about passages that come in turn: a text that came before, and sentences that contradict others."""

from __future__ import annotations

from collections.abc import Sequence

from seal_ray.domains.knowledge.clashing import Said, of_one_thing, pairs
from seal_ray.domains.knowledge.sentences import sentences
from seal_ray.types import Task

_SHOWN = 5
"""Pairs that are told of."""


def come_before(task: Task, earlier: Sequence[Task]) -> Task | None:
    """The first of these passages that has the very same text, however it is laid out."""
    text = task.context.split()
    return next((each for each in earlier if text and each.context.split() == text), None)


def contradictions(tasks: Sequence[Task]) -> list[str]:
    """A line for each of the first few pairs of sentences that say another thing of the same."""
    said = [Said(task.id, sentence) for task in tasks for sentence in sentences(task.context)]
    found = [(one, other) for one, other in pairs(said) if of_one_thing(one, other)]
    wins = "both are learnt and asked; whichever comes later wins"
    return [f"{one}, and {other}: {wins}" for one, other in found[:_SHOWN]]
