"""Nothing is learnt: before each question stand the passages that are found for it among all that are measured."""

from __future__ import annotations

from functools import reduce
from statistics import fmean

from seal_ray.continual.library import closest
from seal_ray.domains.base import Baseline
from seal_ray.methods.base import Desk, Study
from seal_ray.methods.unwritten import InContext
from seal_ray.types import Task, last_turn


class Retrieval(InContext):
    """The passage that shares most words with the question, rare ones counting more; its own or another."""

    most = 1
    """How many stand before a question."""

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        held, prompts = desk.tasks or (task,), desk.domain.questions(task)
        passages = [f"{each.title}\n{each.context}" for each in held]
        found = closest([*map(last_turn, prompts)], passages, self.most)
        pairs = [(prompt, [held[place] for place in places]) for prompt, places in zip(prompts, found, strict=True)]
        own = fmean(any(each.id == task.id for each in near) for _, near in pairs)
        # The closest is put in first, so that it stands next to the question.
        asked = tuple(reduce(lambda shown, each: desk.domain.in_sight(each, shown), near, p) for p, near in pairs)
        return Study(Baseline(None, asked), found=own)


class OfThree(Retrieval):
    """The three that share most."""

    most = 3
