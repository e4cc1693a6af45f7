"""Adapters that a network writes in one pass over the text, once it has learnt that from training passages."""

from __future__ import annotations

from seal_ray.domains.base import Baseline
from seal_ray.methods.base import Desk, Study
from seal_ray.methods.unwritten import Passage, Unwritten
from seal_ray.types import Task


class Generated(Unwritten):
    """Nothing is trained on the text: the network reads it and writes its adapter (after arXiv 2411.05877)."""

    trains = False
    by_generator = True
    answers = False
    """Whether the network has also learnt to answer, by the questions of training passages."""

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        return Study(Baseline(None, desk.domain.questions(task)))


class WithAnswers(Generated):
    """The same of a network that was also asked."""

    answers = True


class Started(Generated):
    """The text is trained on as ever, on top of what the network wrote of it.

    All texts at once have no adapter of their own to start from, so that is not measured.
    """

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        return await Passage().study(task, texts, desk)
