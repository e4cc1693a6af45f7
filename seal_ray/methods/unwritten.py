"""What needs nothing written: the text alone, read before each question or trained on."""

from __future__ import annotations

from seal_ray.domains.base import Baseline, Studied
from seal_ray.methods.base import Desk, Study
from seal_ray.types import Task


class Unwritten:
    writes = False
    trains = True
    by_policy = False

    def lacks(self, domain: Studied) -> str:
        return ""


class InContext(Unwritten):
    """Nothing is trained: the text stands before each question. This is what learning by heart is compared with."""

    trains = False

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        asked = tuple(desk.domain.in_sight(task, prompt) for prompt in desk.domain.questions(task))
        return Study(Baseline(None, asked))


class External(Unwritten):
    """Nothing is trained here: an adapter from elsewhere is asked, one for all tasks."""

    trains = False

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        return Study(Baseline(None, desk.domain.questions(task)))


class Passage(Unwritten):
    """The text itself is trained on, and nothing else."""

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        return Study(Baseline(desk.domain.train_on(desk.domain.text(task)), desk.domain.questions(task)))
