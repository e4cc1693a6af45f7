"""Tries settings on training tasks, in a directory of its own whose journal holds every trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from seal_ray.config import Config, Continual, Evaluation, Selection, Update
from seal_ray.domains.base import Baseline, DiscreteActions, Domain
from seal_ray.events import Observer, StageBegan
from seal_ray.loop.gathering import all_of
from seal_ray.loop.place import Place
from seal_ray.loop.preflight import draw, prepare
from seal_ray.loop.run import stand_on
from seal_ray.loop.session import Session, open_run
from seal_ray.loop.synthetic_questions import with_questions
from seal_ray.plain import one_line
from seal_ray.tuning.account import Account, Known, account_of, rewards
from seal_ray.tuning.costs import Costs, text_tokens
from seal_ray.tuning.racing import FEWEST_TRIALS, Schedule, contenders, ranked
from seal_ray.tuning.space import Axes, Settings, candidates, parse_axes
from seal_ray.types import Recipe, Task, UserError, derive_seed

STAGE = "tuning"
On = Literal["auto", "passage", "self-edits"]
"""What trials train on. `auto`: self-edits, where the config's own run has any written; else the passage alone, where
the domain has that as a baseline."""
_PASSAGE = "passage only"
_PLENTY = 1_000_000


def tune(
    config: Config,
    *observers: Observer,
    trials: int = 60,
    axes: str = "",
    on: On = "auto",
    into: str = "",
    force: bool = False,
) -> Account:
    """Find trial settings for a config's model and domain; what is on record in the directory is not done again."""
    if trials < FEWEST_TRIALS:
        raise UserError(f"--trials {trials}: too few to tell settings apart by; give {FEWEST_TRIALS} or more")
    if on == "auto" and (config.run.rounds or config.evaluation.samples):
        on = "self-edits"
    ready = prepare(_of_trials_alone(config, into or f"{config.dir}-tune"), force)
    config, domain = ready.config, ready.domain
    if isinstance(domain, DiscreteActions):
        raise UserError(f"domain.name {domain.name!r}: its self-edits decide how they are trained; nothing to tune")
    drawn = draw(config, domain, 1)
    if not drawn:
        raise UserError(f"domain.name {domain.name!r}: has no training tasks, and held-out ones are not to be tuned on")
    race = Race(trials, parse_axes(axes, Settings.of(config), config), on)
    with open_run(config, domain, ready.identity, observers, force) as opened:
        opened.drive(lambda session: race.over(session, drawn), probe=domain.prompt(drawn[0]))
        tokens = text_tokens(opened.journal, STAGE, {each.name: each.optim.epochs for each in race.raced})
        return account_of(config.dir, race.raced, race.fresh, race.costs, tokens)


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


class Race:
    """A tuning under way: settings are tried on some of the tasks, and what is left is compared on others."""

    costs: Costs

    def __init__(self, trials: int, axes: Axes, on: On) -> None:
        self._trials, self._axes, self._on = trials, axes, on
        self.raced: dict[Settings, Known] = {}
        """The start comes first."""
        self.fresh: dict[Settings, Known] = {}

    async def over(self, session: Session, drawn: Sequence[Task]) -> None:
        """Try until a few settings are left, and hold those to the start."""
        await stand_on(session, await session.policies.begin())
        seed = derive_seed(STAGE, session.config.run.seed)
        tasks = await _teaching(session, drawn, Schedule.of(self._trials, _PLENTY, _PLENTY).tasks, seed)
        recipes = await _texts(session, tasks, self._on)
        tasks = [task for task in tasks if task.id in recipes]
        if len(tasks) < 2:
            raise UserError("one training task is left; settings are chosen by some and held to others: give more")
        texts = max(len(recipe.examples) for recipe in recipes.values())
        possible = candidates(session.config, self._axes, texts, seed)
        schedule = Schedule.of(self._trials, len(tasks), len(possible))
        field = possible[: schedule.fields[0]]
        start, self.costs = field[0], Costs.of(session.config, field)
        for size, shown in schedule.stages():
            field = field[:size]
            await _try(session, [start, *field], tasks[:shown], recipes, self.raced)
            _refuse_void(self.raced)
            field = ranked(rewards(self.raced), field, self.costs)
        if chosen := contenders(rewards(self.raced), start, field, schedule.step, self.costs):
            await _try(session, [start, *chosen], tasks[schedule.raced : schedule.tasks], recipes, self.fresh)


async def _teaching(session: Session, drawn: Sequence[Task], most: int, seed: int) -> list[Task]:
    """Training tasks that the base does not solve as it is, in an order that the seed decides; no more than these."""
    asked = await with_questions(session, drawn[: 2 * most])
    tasks = await session.runner.unsolved(asked)
    if not tasks:
        raise UserError(f"the base solves all of {len(asked)} training tasks untrained; give harder ones to tune on")
    return sorted(tasks, key=lambda task: derive_seed(seed, task.id))[:most]


async def _texts(session: Session, tasks: Sequence[Task], on: On) -> dict[str, Recipe]:
    """What is trained on for each task; tasks whose self-edit cannot be used are left out."""
    config, domain = session.config, session.domain
    found = {} if on == "self-edits" else _passages(domain, tasks)
    if on == "passage" and not found:
        raise UserError(f"--on passage: the domain {domain.name!r} has no {_PASSAGE!r}; leave it out")
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
    given = {task.id: domain.baseline(_PASSAGE, task, 0) for task in tasks}
    return {task: each.recipe for task, each in given.items() if each and each.recipe}


async def _try(
    session: Session,
    field: Iterable[Settings],
    tasks: Sequence[Task],
    recipes: Mapping[str, Recipe],
    known: dict[Settings, Known],
) -> None:
    """All of these on all of these tasks that are not tried yet, at once."""
    asked = [(each, task) for each in dict.fromkeys(field) for task in tasks]
    wanted = [(each, task) for each, task in asked if task.id not in known.setdefault(each, {})]
    session.events.emit(StageBegan(f"{STAGE}: trials", len(wanted)))

    async def one(settings: Settings, task: Task) -> None:
        given = Baseline(settings.train(recipes[task.id]), session.domain.questions(task))
        place = Place(STAGE, settings.name, task.id)
        known[settings][task.id] = await session.runner.try_given(place, given, task)

    await all_of(one(*each) for each in wanted)


def _refuse_void(known: Mapping[Settings, Known]) -> None:
    problems = [summary.problem for found in known.values() for summary in found.values()]
    if all(problems):
        raise UserError(f"all {len(problems)} trials failed, the first of them: {one_line(problems[0])}")
