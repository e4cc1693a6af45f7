"""From passages to one adapter that knows them, and to what it knows: the body of a run that learns documents.

Everything is on record before it is used, under a name that holds all it depends on. So a run that was killed goes on
where it was, and after a change of the documents only what is new is asked, tried and trained.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from seal_ray.domains.knowledge.studied import ALONE, Studied, StudiedTask
from seal_ray.events import Advanced, Ended, StageBegan
from seal_ray.gathering import all_of
from seal_ray.learning.by_method import method_of, studied
from seal_ray.learning.elsewhere import (
    PRACTICE_TOKENS,
    STATEMENTS,
    as_before,
    graded,
    practice,
    questions,
)
from seal_ray.learning.questions import questioned
from seal_ray.loop.asked import asked_once
from seal_ray.loop.place import Place
from seal_ray.loop.run import put_kept_on_record
from seal_ray.loop.session import Session
from seal_ray.plain import counted
from seal_ray.record.account import Elsewhere, known_arm
from seal_ray.record.rows import OutcomeRow, PolicyRow
from seal_ray.selection.rules import Candidate
from seal_ray.types import Example, FinetuneSpec, Policy, Prompt, Recipe, Trial, derive_seed

logger = logging.getLogger(__name__)

_ALONE = "passages alone"
_ELSEWHERE = "elsewhere"
_ANSWER_TOKENS = 24


class Study:
    """The body of a run: `drive(study.body)`, after which its fields say what came of it."""

    def __init__(self, domain: Studied) -> None:
        self._domain = domain
        self.tasks: list[StudiedTask] = []
        self.kept: list[Candidate] = []
        self.texts = 0
        """How many texts a method had written, where the config names one."""
        self.examples = 0
        """How many the adapter was trained on."""
        self.policy: Policy
        self.before: Elsewhere
        self.after: Elsewhere

    async def body(self, session: Session) -> None:
        domain, runner, config = self._domain, session.runner, session.config
        base = runner.policy = await session.policies.begin()
        self.tasks = await questioned(session, domain, domain.tasks("train", None, config.run.seed))
        recipe, practised = await all_of(
            [self._recipe(session), self._ask(session, base, practice(domain.chat), PRACTICE_TOKENS)]
        )
        self.policy = policy = await self._train(session, base, recipe, practised.answers)
        reported = [domain.reported(task) for task in self.tasks if task.held]
        for name in config.evaluation.baselines:
            await runner.measure_baseline(name, reported)
        arm = known_arm(policy.version)
        session.events.emit(StageBegan(f"evaluation: {arm}", len(reported)))
        await runner.under(policy).ask("evaluation", arm, reported)
        session.events.emit(StageBegan(_ELSEWHERE, 2))
        self.before, self.after = await all_of(self._elsewhere(session, each) for each in (base, policy))
        session.events.emit(Ended())

    async def _recipe(self, session: Session) -> Recipe:
        """What is trained on: the recipe of a method, or the passages with the self-edits that trials chose."""
        if method := method_of(session.config, self._domain):
            recipe, self.texts = await studied(session, method, self.tasks)
            return recipe
        self.kept = await self._choose(session, [task for task in self.tasks if task.questions])
        put_kept_on_record(session, self.kept, 1)
        completions = {candidate.edit.task_id: [candidate.edit.completion] for candidate in self.kept}
        return self._domain.corpus((task, completions.get(task.id, [])) for task in self.tasks)

    async def _choose(self, session: Session, tasks: Sequence[StudiedTask]) -> list[Candidate]:
        """For each passage the self-edit that taught most, where it taught more than the passage alone."""
        session.events.emit(StageBegan(f"{_ALONE}: trials", len(tasks)))

        async def alone() -> dict[str, float]:
            tried = (session.runner.try_baseline(Place(_ALONE, ALONE, task.id), ALONE, task) for task in tasks)
            found = await all_of(tried)
            return {task.id: each.reward for task, each in zip(tasks, found, strict=True)}

        rewards, candidates = await all_of([alone(), session.runner.explore(1, tasks, with_rewards=True)])
        return chosen(candidates, rewards)

    async def _train(self, session: Session, base: Policy, recipe: Recipe, practised: Sequence[str]) -> Policy:
        """Train one adapter on the recipe and on answers of the base: the next version of the policy."""
        beside = as_before(practice(self._domain.chat), practised, len(recipe.examples))
        if recipe.objective:  # what the base predicted there is what it would predict now
            beside = [replace(example, teacher=example.prompt) for example in beside]
        examples = (*recipe.examples, *beside)
        self.examples = len(examples)
        update, seed = session.config.update, derive_seed("learn", session.config.run.seed)
        finetune = FinetuneSpec(examples, update.lora, update.optim, seed, objective=recipe.objective)
        versions = [row.version for row in session.journal.read(PolicyRow)]
        parent = replace(base, version=max(versions, default=0))  # documents are learnt from the base, every time
        stage = f"training on {counted(len(self.tasks), 'passage')}"
        return await session.policies.next(parent, finetune, self.texts or len(self.kept), stage)

    async def _elsewhere(self, session: Session, policy: Policy) -> Elsewhere:
        """What a policy knows of things that no document is about."""
        row = await self._ask(session, policy, questions(self._domain.chat), _ANSWER_TOKENS, STATEMENTS)
        session.events.emit(Advanced(_ELSEWHERE))
        return graded(row.answers, row.log_likelihoods)

    async def _ask(
        self, session: Session, policy: Policy, asked: tuple[Prompt, ...], tokens: int, said: tuple[Example, ...] = ()
    ) -> OutcomeRow:
        """A policy's answers to what is no task's, once, and on record."""
        trial = Trial(_ELSEWHERE, policy.adapter, None, 0, asked, tokens, (), said)
        return await asked_once(session, policy, trial)


def chosen(candidates: Mapping[str, Sequence[Candidate]], alone: Mapping[str, float]) -> list[Candidate]:
    """The best of each passage's self-edits, the first of equals; none where the passage alone teaches as much."""
    best = [
        max((c for c in found if not c.problem), key=lambda c: c.reward, default=None) for found in candidates.values()
    ]
    return [c for c in best if c and c.reward > alone[c.edit.task_id]]
