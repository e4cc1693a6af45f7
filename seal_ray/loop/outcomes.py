"""What came of trials: each is done once, whatever was done before and whoever wants it again.

Everything is looked up in the journal before it is done, and journalled when it is done.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from seal_ray import plugins
from seal_ray.domains.base import FixedAnswers
from seal_ray.domains.registry import LIKELIHOOD
from seal_ray.events import Advanced, progress_name
from seal_ray.gathering import Once
from seal_ray.loop.memory import Memory
from seal_ray.loop.place import Place
from seal_ray.loop.workshop import Workshop
from seal_ray.observe.log import at
from seal_ray.plain import counted, one_line
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.selection.reward import ChosenBy, TrialSummary
from seal_ray.types import DataError, Failure, Grade, Outcome, Policy, Task, Trial, UserError, content_key

logger = logging.getLogger(__name__)

_NOT_GRADED = "not graded: "
"""What begins the reason of a trial that failed for its answers' judge alone."""


@dataclass(frozen=True)
class Under:
    """The policy that a trial is about, the one that it starts from, and the memory that it is held to."""

    policy: Policy
    start: Policy
    memory: Memory


class Outcomes:
    """Has trials done, and keeps what is on record of them."""

    def __init__(self, shop: Workshop) -> None:
        self.chosen_by = ChosenBy.of(shop.config.selection.reward)
        self.by_likelihood = shop.config.grading.name == LIKELIHOOD
        """The reward without questions: how likely the held-out statements have become."""
        self._domain, self._cluster, self._events = shop.domain, shop.cluster, shop.events
        self._fixed_answers = isinstance(shop.domain, FixedAnswers) and shop.domain.fixed_answers
        self._names, self._beside = shop.names, shop.beside
        self._known = {row.key: self.chosen_by.summary(row.outcome) for row in shop.journal.read(OutcomeRow)}
        self._planned = {row.key for row in shop.journal.read(PlannedRow)}
        self._warned: set[str] = set()
        self._once = Once()

    async def of(
        self, trial: Trial, task: Task, place: Place, replicate: int, under: Under, recipe: str = ""
    ) -> TrialSummary:
        """What came of a trial: from the journal, from the same trial under way, or by having it done.

        `recipe` is what its recipe is called on record, where that is not its key.
        """
        key = self._names.trial(trial, under.start, [task])
        recipe = recipe or (trial.recipe.key if trial.recipe else "")
        self._plan(place, replicate, key, under.policy, recipe, trial.seed)
        if key not in self._known and (row := self._beside.outcomes.get(key)):
            self._record(row.outcome if self._beside.judged_alike else await self._again(row.outcome, task))
        if key not in self._known:
            with at(task=task.id, trial=key):
                await self._once.do(key, lambda: self._do(trial, key, task, under.memory))
        self._advance(place)
        return self._known[key]

    async def of_all(self, trial: Trial, tasks: Sequence[Task], place: Place, replicate: int, under: Under) -> None:
        """One trial that answers for each of these tasks; it goes on record at the place of each."""
        name = self._names.trial(trial, under.start, tasks)
        keys = [content_key(name, task.id) for task in tasks]
        recipe = trial.recipe.key if trial.recipe else ""
        for task, key in zip(tasks, keys, strict=True):
            self._plan(replace(place, task_id=task.id), replicate, key, under.policy, recipe, trial.seed)
        if not all(key in self._known for key in keys):
            await self._once.do(name, lambda: self._do_together(trial, place.arm, tasks, keys))

    def unusable(
        self, place: Place, replicate: int, seed: int, why: DataError, name: str, under: Under
    ) -> TrialSummary:
        """Record a failure, worth nothing, for a self-edit that no trial can be made of."""
        key = content_key("unusable", name, seed)
        self._plan(place, replicate, key, under.policy, "", seed)
        self._record(Outcome(key, reward=0.0, failure=Failure("data", one_line(str(why)))))
        self._advance(place)
        return self._known[key]

    def warn(self, what: str, outcome: Outcome) -> None:
        """Say it once, however many trials it is true of."""
        for line in (f"{what}: {warning}" for warning in outcome.warnings):
            if line not in self._warned:
                self._warned.add(line)
                logger.warning("%s", line)

    async def _do(self, trial: Trial, key: str, task: Task, memory: Memory) -> None:
        outcome = replace(await self._cluster.run_trial(trial), key=key)
        outcome = memory.noted(outcome) if trial.recipe else outcome
        self.warn(task.id, outcome)
        self._record(replace(outcome, reward=0.0) if outcome.failure else await self._graded(outcome, task))

    async def _do_together(self, trial: Trial, arm: str, tasks: Sequence[Task], keys: Sequence[str]) -> None:
        """Give the answers back to the tasks whose questions they answer."""
        whole = await self._cluster.run_trial(trial)
        self.warn(arm, whole)
        if whole.failure:
            raise UserError(f"{arm}: training on all texts at once failed: {whole.failure.reason}")
        answers, cut = iter(whole.answers), iter(whole.cut)
        for task, key in zip(tasks, keys, strict=True):
            mine = tuple(islice(answers, count := len(self._domain.questions(task))))
            part = replace(whole, key=key, answers=mine, cut=tuple(islice(cut, count)))
            self._record(await self._graded(part, task))

    async def _graded(self, outcome: Outcome, task: Task) -> Outcome:
        if self.by_likelihood:
            return replace(outcome, reward=fmean(math.exp(value) for value in outcome.log_likelihoods))
        try:
            graded = await self._domain.grade(task, outcome.answers)
        except DataError as error:
            return replace(outcome, reward=0.0, failure=Failure("data", f"{_NOT_GRADED}{one_line(str(error))}"))
        asked, who = len(outcome.answers), f"domain {self._domain.name!r}"
        grade = plugins.given(f"{who}: its `grade`", graded, Grade)
        if len(grade.verdicts) != asked:
            given = f"{counted(len(grade.verdicts), 'verdict')} on {counted(asked, 'answer')}"
            raise UserError(f"{who}: its `grade` gave {given}; it has to give one on each")
        return replace(outcome, reward=float(grade.reward), verdicts=tuple(map(float, grade.verdicts)))

    async def _again(self, outcome: Outcome, task: Task) -> Outcome:
        """An outcome of another run, with its answers judged as this one judges."""
        if outcome.failure and not outcome.failure.reason.startswith(_NOT_GRADED):
            return outcome
        return await self._graded(replace(outcome, failure=None), task)

    def _plan(self, place: Place, replicate: int, trial: str, policy: Policy, recipe: str, seed: int) -> None:
        where = {**vars(place), "replicate": replicate, "trial": trial}
        name = self._names.planned(**where)
        row = PlannedRow.at(**where, key=name, policy=policy.version, recipe=recipe, seed=seed)
        if row.key not in self._planned:
            self._planned.add(row.key)
            self._events.emit(row)

    def _record(self, outcome: Outcome) -> None:
        if outcome.key not in self._known:
            if self._fixed_answers:
                outcome = replace(outcome, cut=())
            self._known[outcome.key] = self.chosen_by.summary(outcome)
            self._events.emit(OutcomeRow.of(outcome))

    def _advance(self, place: Place) -> None:
        self._events.emit(Advanced(progress_name(place.stage, place.arm)))
