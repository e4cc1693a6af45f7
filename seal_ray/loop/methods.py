"""Every method of learning a text, on the same held-out tasks with the same number of texts, measured once.

What is written is shared: more texts of a method begin with the fewer, and methods that ask alike get the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from seal_ray.config import Config
from seal_ray.domains.base import Domain, Studied
from seal_ray.domains.registry import LIKELIHOOD
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.generated import Writer, check_generated, writer
from seal_ray.loop.memory import Memory
from seal_ray.loop.place import Place
from seal_ray.loop.session import Session
from seal_ray.loop.skill import learnt_skill
from seal_ray.loop.trials import TrialRunner
from seal_ray.methods import budgets
from seal_ray.methods.base import (
    EXTERNAL,
    Desk,
    Method,
    Study,
    arms_of,
    by_skill,
    find_method,
    folder_of,
    study_of,
    whole,
)
from seal_ray.methods.generated import Generated
from seal_ray.model.architecture import check_targets
from seal_ray.model.counting import counter
from seal_ray.policy.foreign import fitting_adapter_from
from seal_ray.record.methods import METHODS, SKILL, TRIALS, Arm
from seal_ray.record.rows import StudyRow
from seal_ray.types import BASE, Policy, SelfEdit, Task, UserError, content_key, derive_seed
from seal_ray.workers.sampler import EngineSpec

logger = logging.getLogger(__name__)


def check_methods(config: Config, domain: Domain, tasks: Sequence[Task]) -> None:
    """Refuse methods that there are not, or not in this domain, and budgets that nothing fits into."""
    for name in config.evaluation.methods:
        method = find_method(name, domain)
        if isinstance(method, Generated):
            check_generated(name, method, config, domain)
        if folder := folder_of(name):
            fitting_adapter_from(folder, config)
        if config.evaluation.methods.count(name) > 1:
            raise UserError(f"evaluation.methods names {name!r} twice; name each once")
    if config.evaluation.methods and config.grading.name == LIKELIHOOD:
        raise UserError(f"evaluation.methods ask questions, and grading.name {LIKELIHOOD!r} asks none; leave one out")
    if need_skill(config) and EngineSpec.of(config).name == "endpoint":
        raise UserError(
            "evaluation.methods: a skill is learnt from what the base itself answers, and sampling.engine is "
            '"endpoint"; choose another engine, or leave "past" out'
        )
    if need_skill(config):
        check_targets(config, updates=True)
    if config.evaluation.methods and (held := config.evaluation.trained_budgets):
        budgets.check_trained(min(held), cast(Studied, domain), tasks, counter(config.model.path, opened=True)[0])


def need_skill(config: Config) -> bool:
    """Whether a skill is learnt on training tasks before methods are measured."""
    return any(map(by_skill, config.evaluation.methods))


async def measure_methods(session: Session, tasks: Sequence[Task], training: Sequence[Task]) -> None:
    """Each method with each number of texts and each budget; a skill is learnt on the training tasks, where needed."""
    settings = session.config.evaluation
    if not settings.methods:
        return
    arms = arms_of(settings)
    session.events.emit(StageBegan(TRIALS, len(arms) * len(tasks) * settings.seeds))
    known = {row.key: (Arm.of(row).name, row.task_id) for row in session.journal.read(StudyRow)}
    skill = await learnt_skill(session, training) if need_skill(session.config) else session.names.base
    room = _Room(tasks, known, session.config.model.path, skill)
    benches = {name: await _bench(session, name, room) for name in settings.methods}
    alone = [benches[arm.method].each(arm, tasks) for arm in arms if not arm.together]
    together = [benches[arm.method].together(arm, tasks) for arm in arms if arm.together]
    await all_of([*alone, *together])
    if lent := [*filter(folder_of, settings.methods), *([SKILL] if skill.adapter != BASE else [])]:
        await session.policies.end(*lent)


def desk_of(session: Session, runner: TrialRunner, tasks: Sequence[Task] = ()) -> Desk:
    """The desk of a method: texts that it asks for are written by this runner's policy."""

    async def write(domain: Studied, task: Task, index: int) -> SelfEdit:
        seed = derive_seed("sample", session.config.run.seed, METHODS, task.id, index)
        return await runner.write(domain, task, index, seed, METHODS)

    return Desk(cast(Studied, session.domain), write, tasks)


@dataclass
class _Room:
    """What all benches share."""

    tasks: Sequence[Task]
    known: Mapping[str, tuple[str, str]]
    """The studies on record by their keys, in their order: of which arm and task they are."""
    model: str
    skill: Policy
    """What methods that need one are trained on top of."""

    @cached_property
    def last(self) -> Mapping[tuple[str, str], str]:
        """The study that counts of each arm and task, by its key."""
        return {at: key for key, at in self.known.items()}

    @cached_property
    def trained(self) -> budgets.Tokens:
        """How many tokens a study trains on."""
        count, note = counter(self.model, opened=True)
        if note:
            logger.warning("evaluation.trained_budgets: %s", note)
        return budgets.trained(count)


async def _bench(session: Session, name: str, room: _Room) -> _Bench:
    method, called = find_method(name, session.domain), name
    runner = session.runner.under(session.runner.policy if method.by_policy else session.names.base)
    if by_skill(name):
        runner = session.runner.asking(room.skill)
    if folder := folder_of(name):
        adapter = fitting_adapter_from(folder, session.config)
        called = f"{EXTERNAL}{folder.name}@{adapter.ref.key[:8]}"  # what is measured is what lies there now
        held = await session.policies.lend(name, adapter)
        runner = session.runner.asking(Policy(content_key(session.names.model, EXTERNAL, held), adapter=held))
    runner.memory = Memory()  # what the last policy remembers says nothing of trials that start elsewhere
    writes = await writer(session, name, method) if isinstance(method, Generated) else None
    return _Bench(session, called, method, runner, room, writes)


@dataclass(frozen=True)
class _Bench:
    """Where one method is measured."""

    session: Session
    called: str
    """What its rows are called by."""
    method: Method
    runner: TrialRunner
    room: _Room
    writer: Writer | None = None
    """What writes an adapter for each task, where the method has that."""

    async def each(self, arm: Arm, tasks: Sequence[Task]) -> None:
        """On every task by itself; of adapters that are written for them, workers hold a bankful at a time."""
        if self.writer is None:
            await all_of(self._alone(arm, task, self.runner) for task in tasks)
            return
        bankful = self.session.config.workers.slots
        for some in (tasks[at : at + bankful] for at in range(0, len(tasks), bankful)):
            async with self.writer.lent(some) as policies:
                runners = map(self.runner.asking, policies)
                await all_of([self._alone(arm, *each) for each in zip(some, runners, strict=True)])

    async def _alone(self, arm: Arm, task: Task, runner: TrialRunner) -> None:
        """On one task, with each seed."""
        arm = arm._replace(method=self.called)
        texts, study = await self._study(arm, task)
        recipe = study.trial.recipe.key if study.trial.recipe else ""
        if self.writer:  # what another network wrote is another study
            recipe = content_key(recipe, runner.policy.name)
        elif study.found is not None:  # and so is what was found among other passages
            recipe = content_key(study.trial.questions)
        self._note(arm, task, texts, study, recipe)
        place = Place(METHODS, arm.name, task.id)
        await all_of(runner.try_given(place, study.trial, task, seed, of=recipe) for seed in self._seeds)

    async def together(self, arm: Arm, tasks: Sequence[Task]) -> None:
        """On what it makes of all tasks at once, with each seed."""
        found = await all_of(self._study(arm, task) for task in tasks)
        recipe = whole(study for _, study in found)
        for task, (texts, study) in zip(tasks, found, strict=True):
            self._note(arm, task, texts, study, recipe.key)

        async def one(seed: int) -> None:
            await self.runner.try_together(METHODS, arm.name, tasks, recipe, seed)
            self.session.events.emit(Advanced(TRIALS, len(tasks)))

        await all_of(map(one, self._seeds))

    @property
    def _seeds(self) -> range:
        return range(self.session.config.evaluation.seeds)

    async def _study(self, arm: Arm, task: Task) -> tuple[int, Study]:
        """What the method makes of a task, and of how many texts."""
        if arm.budget:
            return await budgets.within(arm.budget, budgets.written, self.method, task, self._desk)
        if arm.trained:
            return await budgets.within(arm.trained, self.room.trained, self.method, task, self._desk)
        return arm.texts, await study_of(self.method, task, arm.texts, self._desk)

    @cached_property
    def _desk(self) -> Desk:
        return desk_of(self.session, self.runner, self.room.tasks)

    def _note(self, arm: Arm, task: Task, texts: int, study: Study, recipe: str) -> None:
        """Put on record what was written and is to be trained; once, unless something else was since."""
        edits = tuple(edit.key for edit in study.edits)
        more = [arm.budget, arm.together] if arm.budget or arm.together else []
        more += [arm.trained] if arm.trained else []
        key = content_key(METHODS, arm.method, texts, task.id, edits, recipe, study.trial.questions, *more)
        last = self.room.last.get((arm.name, task.id))
        while key in self.room.known and key != last:
            key = content_key(key)
        if key != last:
            held = arm.budget, arm.together, arm.trained
            row = StudyRow(key, task.id, arm.method, texts, edits, recipe, *held, study.found)
            self.session.events.emit(row)
