"""Nothing is learnt: before each question stand the passages that are found for it among all that are measured."""

from __future__ import annotations

from functools import partial, reduce
from statistics import fmean

from seal_ray.domains.base import Baseline
from seal_ray.methods.base import Desk, Study
from seal_ray.methods.unwritten import InContext
from seal_ray.types import Task, last_turn


class Retrieval(InContext):
    """The passage that shares most words with the question, rare ones counting more; its own or another."""

    most = 1
    """How many stand before a question."""

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        prompts = desk.domain.questions(task)
        near = [[desk.tasks[at] for at in desk.index.closest(last_turn(prompt), self.most)] for prompt in prompts]
        own = fmean(any(each.id == task.id for each in some) for some in near)
        # The closest is put in first, so that it stands next to the question.
        put = partial(reduce, lambda shown, each: desk.domain.in_sight(each, shown))
        asked = tuple(put(some, prompt) for some, prompt in zip(near, prompts, strict=True))
        return Study(Baseline(None, asked), found=own)


class OfThree(Retrieval):
    """The three that share most."""

    most = 3
