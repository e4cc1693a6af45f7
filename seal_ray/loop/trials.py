"""What a run tries: rounds of self-edits, what they teach of held-out tasks, baselines, and all texts at once.

One coroutine follows one self-edit from request to reward, so a trainer starts on the first self-edits while others are
being written. Who wants a self-edit or a trial asks `Writer` and `Outcomes`, which do each of them once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from seal_ray import plugins
from seal_ray.domains.base import Baseline, Domain, JointTraining
from seal_ray.domains.registry import LIKELIHOOD
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.memory import Memory
from seal_ray.loop.outcomes import Outcomes, Under
from seal_ray.loop.place import PASSAGE, Place
from seal_ray.loop.strategies import Tried, alone, strategies_of
from seal_ray.loop.workshop import Workshop
from seal_ray.loop.writing import Writer
from seal_ray.observe.log import at
from seal_ray.record.written import OF_TEXTS, SCREENING
from seal_ray.selection.experience import Experience
from seal_ray.selection.reward import TrialSummary
from seal_ray.selection.rules import Candidate, judged
from seal_ray.selection.scheduling import Proposal, Scheduler
from seal_ray.types import (
    DataError,
    Example,
    Policy,
    Recipe,
    SelfEdit,
    Task,
    Trial,
    UserError,
    derive_seed,
)

logger = logging.getLogger(__name__)

_ASKS = f"asks questions in a way of its own, and grading.name {LIKELIHOOD!r} asks none; leave one of them out"


class TrialRunner:
    """Tries and measures under one policy, `self.policy`; `under` gives the same under another, beside it.

    Whatever is trained is held to `self.memory` beside its own questions.
    """

    def __init__(self, shop: Workshop) -> None:
        self.policy, self.memory, self._base = shop.names.base, Memory(), shop.names.base
        self.made_by = 0
        """So many rounds made the policy that the run stands on: no later one says how held-out texts are written of,
        whatever is learnt on top of it."""
        self._config, self._domain, self._events = shop.config, shop.domain, shop.events
        self._strategies = strategies_of(shop.config, shop.domain, shop.journal, shop.events)
        self._writer, self._outcomes = Writer(shop), Outcomes(shop)
        self.warn, self._chosen_by = self._outcomes.warn, self._outcomes.chosen_by
        self._experience = Experience(shop.config.selection, self._chosen_by.prior, self._chosen_by.most)

    def under(self, policy: Policy) -> TrialRunner:
        """This runner at work under another policy; they share what is on record and under way."""
        other = copy(self)
        other.policy = policy
        return other

    def asking(self, policy: Policy) -> TrialRunner:
        """This runner under another policy, from which its trials start whatever `trial.start` says."""
        other = self.under(policy)
        other._config = replace(self._config, trial=replace(self._config.trial, start="policy"))
        return other

    async def explore(self, round_: int, tasks: Sequence[Task], with_rewards: bool) -> dict[str, list[Candidate]]:
        """Sample self-edits for every task and try each; candidates by task id, in the order of sampling."""
        per_task, stage = self._config.sampling.per_task, f"round {round_}"
        prior, held = self._experience.priors()  # fixed for the round: see racing
        schedulers = self._experience.schedulers(prior, len(tasks), per_task, self._config.trial.seeds)
        await self._strategies.begin(round_, self.policy, self._writer)
        self._events.emit(StageBegan(f"{stage}: self-edits", len(tasks) * per_task))
        if with_rewards:
            self._events.emit(StageBegan(f"{SCREENING}: trials", len(tasks)))
            if self._strategies.names:
                self._events.emit(StageBegan(f"{OF_TEXTS}: trials", len(tasks)))
            self._events.emit(StageBegan(f"{stage}: trials", sum(each.budget for each in schedulers)))

        async def one_task(task: Task, scheduler: Scheduler) -> Tried:
            if not with_rewards:
                return Tried(task, await all_of(self._untried(task, i, stage) for i in range(per_task)), 0.0)
            untrained, candidates, text = await all_of(
                [self._untrained(task), self._tried(task, stage, scheduler), self._text_alone(task)]
            )
            found = judged(candidates, untrained.reward, held, not scheduler.even, untrained.verdicts, prior)
            return Tried(task, found, alone(text, untrained, self._chosen_by))

        found = await all_of(one_task(*each) for each in zip(tasks, schedulers, strict=True))
        self._experience.add(tried.candidates for tried in found)
        self._strategies.learn(found)
        return {tried.task.id: list(tried.candidates) for tried in found}

    async def _tried(self, task: Task, stage: str, scheduler: Scheduler) -> list[Candidate]:
        """Sample a task's self-edits and do the trials that are proposed, each as soon as its self-edit is written."""
        indices = range(self._config.sampling.per_task)
        writing = [asyncio.ensure_future(self._sample(task, index, stage)) for index in indices]
        tried: list[dict[int, TrialSummary]] = [{} for _ in writing]

        async def one(proposal: Proposal) -> None:
            index, replicate = proposal
            place = Place(stage, "self-edits", task.id, index)
            edit = await asyncio.shield(writing[index])  # one that is cancelled must not cancel what others wait for
            known = tried[index][replicate] = await self._try_edit(task, edit, place, replicate)
            scheduler.tell(proposal, None if known.problem else self._chosen_by.sum(edit, known))

        async def all_proposed() -> None:
            if scheduler.reads:
                scheduler.read(await all_of(map(asyncio.shield, writing)))
            while batch := scheduler.ask():
                await all_of(map(one, batch))

        *edits, _ = await all_of([*writing, all_proposed()])
        if spared := scheduler.budget - sum(map(len, tried)):
            self._events.emit(Advanced(f"{stage}: trials", by=spared))
        return [
            self._chosen_by.candidate(edit, [known for _, known in sorted(found.items())])
            for edit, found in zip(edits, tried, strict=True)
        ]

    async def unsolved(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that are not wholly solved where a trial starts, without any training."""
        self._events.emit(StageBegan(f"{SCREENING}: trials", len(tasks)))
        found = await all_of(self._untrained(task) for task in tasks)
        return [task for task, alone in zip(tasks, found, strict=True) if alone.reward < 1.0]

    async def _untrained(self, task: Task) -> TrialSummary:
        """What a task scores where a trial starts, without any training."""
        trial = self._trial(task, None, 0, self._domain.questions(task))
        return await self._outcome(trial, task, Place(SCREENING, "asked alone", task.id), 0)

    async def _text_alone(self, task: Task) -> TrialSummary | None:
        """The trial of a task's own text, with which strategies are compared; None where there is none."""
        given = self._domain.baseline(PASSAGE, task, self._trial_seed(task, 0)) if self._strategies.names else None
        return await self.try_given(Place(OF_TEXTS, PASSAGE, task.id), given, task) if given else None

    async def measure(self, arm: str, tasks: Sequence[Task]) -> None:
        """What this policy's self-edits teach about held-out tasks."""
        samples, seeds = self._config.evaluation.samples, self._config.evaluation.seeds
        self._events.emit(StageBegan(f"evaluation: {arm}", len(tasks) * samples * seeds))

        async def one(task: Task, index: int) -> None:
            edit = await self._sample(task, index, "evaluation")
            place = Place("evaluation", arm, task.id, index)
            await all_of(self._try_edit(task, edit, place, k) for k in range(seeds))

        await all_of(one(task, index) for task in tasks for index in range(samples))

    async def measure_baseline(self, name: str, tasks: Sequence[Task]) -> None:
        """A baseline of the domain's on held-out tasks; tasks that have no such thing are left out."""
        seeds = self._config.evaluation.seeds
        self._events.emit(StageBegan(f"evaluation: {name}", len(tasks) * seeds))

        async def one(task: Task, replicate: int) -> None:
            seed = self._trial_seed(task, replicate)
            baseline = self._domain.baseline(name, task, seed)
            place = Place("evaluation", name, task.id)
            if baseline is None:
                self._events.emit(Advanced(f"evaluation: {name}"))
                return
            if self._outcomes.by_likelihood and baseline.questions != self._domain.questions(task):
                raise UserError(f"evaluation.baselines: {name!r} {_ASKS}")
            await self._outcome(self._trial(task, baseline.recipe, seed, baseline.questions), task, place, replicate)

        await all_of(one(task, replicate) for task in tasks for replicate in range(seeds))

    async def try_text(
        self, stage: str, task: Task, text: str, index: int, replicate: int = 0, strategy: str = ""
    ) -> TrialSummary:
        """Try a text as if it had been written as a self-edit; on record its arm is called by the text."""
        prompt = self._strategies.domain(strategy).prompt(task)
        edit = SelfEdit(task.id, index, self.policy.version, prompt, text, seed=index, strategy=strategy)
        return await self._try_edit(task, edit, Place(stage, text, task.id, index), replicate)

    async def written_trial(self, stage: str, task: Task) -> Trial | None:
        """One self-edit of this policy as a trial without questions; None when it cannot be used."""
        edit, seed = await self._sample(task, 0, stage), self._trial_seed(task, 0)
        try:
            return self._trial(task, await self._recipe(task, edit, seed), seed, ())
        except DataError as error:
            logger.warning("nothing is learnt of a passage: %s", error)
            return None

    async def write(
        self, domain: Domain, task: Task, index: int, seed: int, stage: str, strategy: str = ""
    ) -> SelfEdit:
        """What this policy writes of a task as this domain asks for it."""
        return await self._writer.write(self.policy, domain, task, index, seed, stage, strategy)

    async def try_baseline(self, place: Place, name: str, task: Task, replicate: int = 0) -> TrialSummary:
        """A baseline of the domain's on one task, at a place of its own, with the seed that its self-edits get."""
        if (found := self._domain.baseline(name, task, self._trial_seed(task, replicate))) is None:
            raise UserError(f"the domain {self._domain.name!r} has no {name!r} for {task.id}")
        return await self.try_given(place, found, task, replicate)

    async def try_given(self, at: Place, given: Baseline, task: Task, replicate: int = 0, of: str = "") -> TrialSummary:
        """Train and ask what is given; `of` is what the recipe is called on record, where that is not its key."""
        seed = self._trial_seed(task, replicate)
        return await self._outcome(self._trial(task, given.recipe, seed, given.questions), task, at, replicate, of)

    async def ask(self, stage: str, arm: str, tasks: Sequence[Task], first: int = 0) -> None:
        """Measure this policy as it is, closed book; the tasks are numbered from `first`."""
        trials = ((self._trial(task, None, 0, self._domain.questions(task)), task) for task in tasks)
        await all_of(self._outcome(*each, Place(stage, arm, each[1].id, i), 0) for i, each in enumerate(trials, first))

    async def measure_joint(self, arm: str, tasks: Sequence[Task], with_edits: bool) -> None:
        """Continued pretraining: one adapter learns every held-out text at once, and answers for each of them."""
        samples, seeds = (self._config.evaluation.samples if with_edits else 0), self._config.evaluation.seeds
        if not isinstance(self._domain, JointTraining):
            raise UserError(f"evaluation.joint: the domain {self._domain.name!r} cannot train on many tasks at once")
        if self._outcomes.by_likelihood:
            raise UserError(f"evaluation.joint {_ASKS}")
        self._events.emit(StageBegan(f"evaluation: {arm}", seeds))
        indices = range(samples)
        edits = await all_of(all_of([self._sample(task, i, "evaluation") for i in indices]) for task in tasks)
        texts = [(task, [edit.completion for edit in found]) for task, found in zip(tasks, edits, strict=True)]
        light = self._domain.corpus(texts)
        recipe = replace(light, lora=None) if self._config.evaluation.full_finetune else light

        async def one(replicate: int) -> None:
            await self.try_together("evaluation", arm, tasks, recipe, replicate)
            self._events.emit(Advanced(f"evaluation: {arm}"))

        await all_of(one(replicate) for replicate in range(seeds))

    async def try_together(self, stage: str, arm: str, tasks: Sequence[Task], recipe: Recipe, replicate: int) -> None:
        """Train one adapter on a recipe for all these tasks together, and ask it the questions of each."""
        asked = tuple(question for task in tasks for question in self._domain.questions(task))
        seed = derive_seed("together", self._config.run.seed, replicate)
        trial = replace(self._trial(tasks[0], recipe, seed, asked), task_id="together", statements=())
        await self._outcomes.of_all(trial, tasks, Place(stage, arm, trial.task_id), replicate, self._under)

    async def _sample(self, task: Task, index: int, stage: str) -> SelfEdit:
        seed = derive_seed("sample", self._config.run.seed, stage, task.id, index)
        strategy = self._strategies.chosen(self.policy, task, index, stage, self.made_by)
        with at(task=task.id):
            edit = await self.write(self._strategies.domain(strategy), task, index, seed, stage, strategy)
        if stage != "evaluation":
            self._events.emit(Advanced(f"{stage}: self-edits"))
        return edit

    async def _untried(self, task: Task, index: int, stage: str) -> Candidate:
        """A self-edit that is only written, and why it could not be tried, when it could not."""
        edit = await self._sample(task, index, stage)
        try:
            await self._recipe(task, edit, self._trial_seed(task, 0))
        except DataError as error:
            return Candidate(edit, problem=str(error))
        return Candidate(edit)

    async def _recipe(self, task: Task, edit: SelfEdit, seed: int) -> Recipe:
        """Parsed beside the event loop: a long text must not keep the workers waiting."""
        if edit.refused:
            raise DataError(f"no self-edit: {edit.refused}")
        domain = self._strategies.domain(edit.strategy)
        recipe = await asyncio.to_thread(domain.recipe, task, edit.completion, seed)
        wanted = "a Recipe is wanted, or DataError where a self-edit can be none"
        return plugins.given(f"domain {domain.name!r}: its `recipe`", recipe, Recipe, wanted)

    async def _try_edit(self, task: Task, edit: SelfEdit, place: Place, replicate: int) -> TrialSummary:
        """Try a self-edit with one seed. One that cannot be parsed goes on record as a failure, worth nothing."""
        seed = self._trial_seed(task, replicate)
        try:
            recipe = await self._recipe(task, edit, seed)
        except DataError as error:
            return self._outcomes.unusable(place, replicate, seed, error, edit.key, self._under)
        return await self._outcome(
            self._trial(task, recipe, seed, self._domain.questions(task)), task, place, replicate
        )

    async def _outcome(self, trial: Trial, task: Task, place: Place, replicate: int, of: str = "") -> TrialSummary:
        return await self._outcomes.of(trial, task, place, replicate, self._under, of)

    @property
    def _under(self) -> Under:
        return Under(self.policy, self._start, self.memory)

    @property
    def _start(self) -> Policy:
        """What trials start from."""
        return self.policy if self._config.trial.start == "policy" else self._base

    def _trial(self, task: Task, recipe: Recipe | None, seed: int, questions: tuple) -> Trial:  # type: ignore[type-arg]
        return Trial(
            task.id,
            self._start.adapter,
            recipe,
            seed if recipe else 0,  # answering without training is deterministic: every seed of it is the same trial
            () if self._outcomes.by_likelihood else tuple(questions),
            self._config.trial.answer_tokens,
            self._domain.stop,
            (self._statements(task) if self._outcomes.by_likelihood else ()) + (self.memory.probes if recipe else ()),
        )

    def _statements(self, task: Task) -> tuple[Example, ...]:
        if not (statements := self._domain.statements(task)):
            where = f"grading.name {LIKELIHOOD!r}: the domain {self._domain.name!r}"
            raise UserError(f"{where} has no statements; choose another grader")
        return statements

    def _trial_seed(self, task: Task, replicate: int) -> int:
        """A trial's seed, the same for every self-edit of a task, so that its candidates are compared alike."""
        return derive_seed("trial", self._config.run.seed, task.id, replicate)
