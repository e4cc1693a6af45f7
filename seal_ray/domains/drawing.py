"""The tasks of a run, as its config draws them from its domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seal_ray.domains.base import Domain, Split
from seal_ray.plain import one_line
from seal_ray.types import Task, UserError, derive_seed

if TYPE_CHECKING:
    from seal_ray.config import Config


def held_out_tasks(config: Config, domain: Domain) -> Sequence[Task]:
    """The tasks that a run is measured on and never learns from."""
    return _told_apart(domain, "test", config.domain.test or None, config.run.seed)


def training_tasks(config: Config, domain: Domain, round_: int) -> Sequence[Task]:
    """A round's training tasks; the same ones each round, unless the config wants fresh ones."""
    fresh = round_ if config.domain.fresh else 1
    seed = derive_seed(config.run.seed, "round", fresh)
    return _told_apart(domain, "train", config.domain.train or None, seed)


def divided(learnt: Sequence[Task], held_out: Sequence[Task]) -> str:
    """How the source splits, in words; which passages are held out may be left to chance."""
    return f"{len(learnt)} to train on, {len(held_out)} held out"


def _told_apart(domain: Domain, split: Split, count: int | None, seed: int) -> Sequence[Task]:
    """The tasks, unless a user's domain gives other things or more than are wanted, or two have one id, by which all
    that is on record of them would be taken for one's."""
    tasks = domain.tasks(split, count, seed)
    gave = f"domain {domain.name!r}: its tasks({split!r}, {count}, …)"
    if not isinstance(tasks, Sequence):
        raise UserError(f"{gave} are a {type(tasks).__name__}; a list is wanted")
    if wrong := [task for task in tasks if not _is_task(task)]:
        said = "each is a Task whose id, title, context and answers are texts"
        raise UserError(f"{gave} hold {one_line(repr(wrong[0]), 80)}; {said}")
    if count is not None and len(tasks) > count:
        raise UserError(f"{gave} are {len(tasks)}; give no more than are asked for")
    if twice := [name for name, count in Counter(task.id for task in tasks).items() if count > 1]:
        raise UserError(f"domain {domain.name!r}: two of its tasks have the id {twice[0]!r}; give each one of its own")
    return tasks


def _is_task(task: object) -> bool:
    if not isinstance(task, Task):
        return False
    texts = (task.id, task.title, task.context, *(question.answer for question in task.questions))
    return all(isinstance(text, str) for text in texts)
