"""Every method of learning a text, on the same held-out tasks with the same number of texts, measured once.

What is written is shared: more texts of a method begin with the fewer, and methods that ask alike get the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from seal_ray.config import Config
from seal_ray.domains.base import Domain, Studied
from seal_ray.domains.registry import LIKELIHOOD
from seal_ray.events import StageBegan
from seal_ray.loop.gathering import all_of
from seal_ray.loop.memory import Memory
from seal_ray.loop.place import Place
from seal_ray.loop.session import Session
from seal_ray.methods.base import Desk, Method, arms_of, find_method
from seal_ray.record.methods import METHODS, TRIALS, arm_of
from seal_ray.record.rows import StudyRow
from seal_ray.types import SelfEdit, Task, UserError, content_key, derive_seed


def check_methods(config: Config, domain: Domain) -> None:
    """Refuse methods that there are not, or not in this domain."""
    for name in config.evaluation.methods:
        find_method(name, domain)
        if config.evaluation.methods.count(name) > 1:
            raise UserError(f"evaluation.methods names {name!r} twice; name each once")
    if config.evaluation.methods and config.grading.name == LIKELIHOOD:
        raise UserError(f"evaluation.methods ask questions, and grading.name {LIKELIHOOD!r} asks none; leave one out")


async def measure_methods(session: Session, tasks: Sequence[Task]) -> None:
    """Each method with each number of texts."""
    settings = session.config.evaluation
    methods = {name: find_method(name, session.domain) for name in settings.methods}
    if not methods:
        return
    arms = arms_of(settings)
    session.events.emit(StageBegan(TRIALS, len(arms) * len(tasks) * settings.seeds))
    known = {row.key for row in session.journal.read(StudyRow)}
    await all_of(_measure(session, name, methods[name], texts, task, known) for name, texts in arms for task in tasks)


async def _measure(session: Session, name: str, method: Method, texts: int, task: Task, known: set[str]) -> None:
    """One method on one task, with each seed."""
    policy = session.runner.policy if method.by_policy else session.names.base
    runner, seed = session.runner.under(policy), session.config.run.seed
    runner.memory = Memory()  # what the last policy remembers says nothing of trials that start elsewhere

    async def write(domain: Studied, task: Task, index: int) -> SelfEdit:
        return await runner.write(domain, task, index, derive_seed("sample", seed, METHODS, task.id, index), METHODS)

    study = await method.study(task, texts, Desk(cast(Studied, session.domain), write))
    edits, recipe = tuple(edit.key for edit in study.edits), study.trial.recipe.key if study.trial.recipe else ""
    key = content_key(METHODS, name, texts, task.id, edits, recipe, study.trial.questions)
    row = StudyRow(key, task.id, name, texts, edits, recipe)
    if row.key not in known:
        session.events.emit(row)
    place = Place(METHODS, arm_of(name, texts), task.id)
    await all_of(runner.try_given(place, study.trial, task, k) for k in range(session.config.evaluation.seeds))
