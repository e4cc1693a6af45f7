"""Trying settings on training tasks: which tasks, on what texts, and the trials themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from seal_ray.config import Config, Continual, Evaluation, Selection, Update
from seal_ray.domains.base import Baseline, DiscreteActions, Domain
from seal_ray.domains.drawing import training_tasks
from seal_ray.events import StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.place import PASSAGE, Place
from seal_ray.loop.preflight import Ready, prepare
from seal_ray.loop.session import Session
from seal_ray.loop.synthetic_questions import with_questions
from seal_ray.rundir.tuned import STAGE
from seal_ray.tuning.account import Known
from seal_ray.tuning.space import Settings
from seal_ray.types import Recipe, Task, UserError, derive_seed

On = Literal["auto", "passage", "self-edits"]
"""What trials train on. `auto`: self-edits, where the config's own run has any written; else the passage alone, where
the domain has that as a baseline."""
Text = tuple[Task, Recipe]
"""A task, and what is trained on for it."""


@dataclass(frozen=True)
class Ground:
    """What settings are tried on, in a directory of its own."""

    ready: Ready
    drawn: Sequence[Task]
    on: On

    @classmethod
    def of(cls, config: Config, directory: str, on: On, force: bool = False) -> Ground:
        """The training tasks of a config; `UserError` where there is nothing to try settings on."""
        if on == "auto" and (config.run.rounds or config.evaluation.samples):
            on = "self-edits"
        ready = prepare(_of_trials_alone(config, directory), force)
        domain = ready.domain
        if isinstance(domain, DiscreteActions):
            raise UserError(f"domain.name {domain.name!r}: its self-edits decide how they are trained; nothing to tune")
        drawn = training_tasks(ready.config, domain, 1)
        if not drawn:
            raise UserError(
                f"domain.name {domain.name!r}: has no training tasks, and held-out ones are not to be tuned on"
            )
        return cls(ready, drawn, on)

    async def texts(self, session: Session, most: int, seed: int) -> list[Text]:
        """At most so many tasks that the base does not solve untrained, each with the texts to train on."""
        tasks = await _unsolved(session, self.drawn, most, seed)
        recipes = await _texts(session, tasks, self.on)
        return [(task, recipes[task.id]) for task in tasks if task.id in recipes]


def _of_trials_alone(config: Config, directory: str) -> Config:
    """The config without what comes of rounds and of held-out tasks, so that neither is part of what is recorded."""
    return replace(
        config,
        run=replace(config.run, dir=directory, rounds=0),
        selection=Selection(reward=config.selection.reward),
        update=Update(),
        evaluation=Evaluation(baselines=(), samples=0),
        continual=Continual(),
    )


async def _unsolved(session: Session, drawn: Sequence[Task], most: int, seed: int) -> list[Task]:
    """Training tasks that the base does not solve as it is, in an order that the seed decides; no more than these."""
    asked = await with_questions(session, drawn[: 2 * most])
    tasks = await session.runner.unsolved(asked)
    if not tasks:
        raise UserError(f"the base solves all of {len(asked)} training tasks untrained; give harder ones to tune on")
    return sorted(tasks, key=lambda task: derive_seed(seed, task.id))[:most]


async def _texts(session: Session, tasks: Sequence[Task], on: On) -> dict[str, Recipe]:
    """The texts to train on, by task; a task whose self-edit cannot be used is left out."""
    config, domain = session.config, session.domain
    found = {} if on == "self-edits" else _passages(domain, tasks)
    if on == "passage" and not found:
        raise UserError(f"--on passage: the domain {domain.name!r} has no {PASSAGE!r}; leave it out")
    if not found:
        session.events.emit(StageBegan(f"{STAGE}: self-edits", len(tasks)))
        trials = await all_of(session.runner.written_trial(STAGE, task) for task in tasks)
        found = {trial.task_id: trial.recipe for trial in trials if trial}
    if not found:
        raise UserError(f"none of {len(tasks)} self-edits could be used; try --on passage, or another sampling")
    if any((recipe.lora, recipe.optim) != (config.trial.lora, config.trial.optim) for recipe in found.values()):
        raise UserError(f"domain.name {domain.name!r}: trains its trials otherwise than [trial] says; nothing to tune")
    return found


def _passages(domain: Domain, tasks: Sequence[Task]) -> dict[str, Recipe]:
    given = {task.id: domain.baseline(PASSAGE, task, 0) for task in tasks}
    return {task: each.recipe for task, each in given.items() if each and each.recipe}


async def attempt(
    session: Session,
    field: Iterable[Settings],
    texts: Sequence[Text],
    known: dict[Settings, Known],
    replicate: int = 0,
) -> None:
    """Try each of these settings on each text where it was not tried yet, all at once; `known` gets what they came to.

    Another `replicate` is the same with another seed.
    """
    asked = [(each, *text) for each in dict.fromkeys(field) for text in texts]
    wanted = [each for each in asked if each[1].id not in known.setdefault(each[0], {})]
    session.events.emit(StageBegan(f"{STAGE}: trials", len(wanted)))

    async def one(settings: Settings, task: Task, recipe: Recipe) -> None:
        given = Baseline(settings.train(recipe), session.domain.questions(task))
        place = Place(STAGE, settings.name, task.id)
        known[settings][task.id] = await session.runner.try_given(place, given, task, replicate)

    await all_of(one(*each) for each in wanted)
