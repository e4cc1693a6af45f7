"""Learns the skill of `past` once, and keeps it: see `seal_ray.methods.past`.

Part after part, training passages are read on top of what is known so far; then answers are sampled, graded and learnt
from, update after update. Each step is a row, under a name that holds all it depends on, so that a run that was killed
goes on with the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from seal_ray.adapters.lora import Adapter
from seal_ray.adapters.merge import total
from seal_ray.domains.base import Studied
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.session import Session
from seal_ray.methods.budgets import trained_on
from seal_ray.methods.past import ANSWERS, PARTS, UPDATES, Answered, skill_update
from seal_ray.model.counting import counter
from seal_ray.policy import adapters
from seal_ray.record.methods import SKILL
from seal_ray.record.rows import OutcomeRow, SkillRow
from seal_ray.types import (
    BASE,
    AdapterRef,
    DataError,
    FinetuneSpec,
    Outcome,
    Policy,
    SampleRequest,
    Task,
    Trial,
    UserError,
    content_key,
    derive_seed,
)

logger = logging.getLogger(__name__)

_ANSWERS = f"{SKILL}: answers"


async def learnt_skill(session: Session, tasks: Sequence[Task]) -> Policy:
    """Learn to answer from these training tasks: a policy, which workers hold until the head `SKILL` is ended."""
    steps, skill = _Steps(session), session.names.base
    session.events.emit(StageBegan(_ANSWERS, UPDATES * ANSWERS * len(tasks)))
    for part in range(PARTS):
        if some := tasks[part::PARTS]:
            read = await steps.read(skill, some)
            for number in range(UPDATES):
                skill = await steps.updated(skill, read, some, number)
    if skill.adapter == BASE:
        logger.warning("%s: no answer was better than another; passages are learnt without a skill", SKILL)
        return session.names.base
    await steps.hold(skill.name, skill.adapter)
    return skill


@dataclass(frozen=True)
class _Reader:
    """The skill so far with some passages trained on top of it: what gives the answers that are learnt from."""

    name: str
    parts: tuple[AdapterRef, ...]


class _Steps:
    """Steps towards a skill, each taken once."""

    def __init__(self, session: Session) -> None:
        self._session, self._config, self._domain = session, session.config, session.domain
        self._rows = {row.key: row for row in session.journal.read(SkillRow)}
        self._answers = {row.key: row for row in session.journal.read(OutcomeRow)}
        self._count, _ = counter(session.config.model.path, opened=True)
        self._held: tuple[str, asyncio.Task[AdapterRef]] | None = None
        self._steps = 0

    async def read(self, skill: Policy, tasks: Sequence[Task]) -> SkillRow:
        """Train on these passages together, on top of the skill so far."""
        assert isinstance(self._domain, Studied)
        recipe = self._domain.train_on([example for task in tasks for example in self._domain.text(task)])
        seed = derive_seed(SKILL, self._config.run.seed, [task.id for task in tasks])
        name = content_key(SKILL, skill.name, recipe, seed)

        async def learn() -> tuple[Adapter | None, SkillRow]:
            at = await self.hold(skill.name, skill.adapter)
            outcome, learned = await self._session.cluster.train_adapter(Trial(SKILL, at, recipe, seed, ()))
            if outcome.failure:
                raise UserError(f"{SKILL}: training on {len(tasks)} passages failed: {outcome.failure.reason}")
            return learned, SkillRow(name, passages=len(tasks), trained=outcome.tokens)

        return await self._step(name, learn)

    async def updated(self, skill: Policy, read: SkillRow, tasks: Sequence[Task], number: int) -> Policy:
        """The skill after one more update, on answers of whoever has read the passages and has the skill so far."""
        reader = _Reader(content_key(SKILL, skill.name, read.key), (skill.adapter, AdapterRef(read.adapter)))
        of_tasks = await all_of(self._answers_to(reader, task, number) for task in tasks)
        sets: list[OutcomeRow] = [row for rows in of_tasks for row in rows]
        finetune = self._finetune(tasks, of_tasks, number)
        if finetune is None:
            return skill
        most = self._config.update.max_rank
        name = content_key(SKILL, reader.name, finetune, most)

        async def learn() -> tuple[Adapter | None, SkillRow]:
            at = await self.hold(reader.name, *reader.parts)
            result = await self._session.cluster.update(replace(finetune, base=at))
            before = await self._adapter(skill.adapter)
            whole, _ = await asyncio.to_thread(total, (before, result.adapter), most)
            return whole, SkillRow(
                name,
                passages=len(tasks),
                answers=sum(len(row.answers) for row in sets),
                right=fmean(row.reward or 0.0 for row in sets),
                trained=round(trained_on(finetune.examples, finetune.optim, self._count)),
                written=sum(row.tokens for row in sets),
            )

        row = await self._step(name, learn)
        return Policy(row.key, 0, AdapterRef(row.adapter))

    async def hold(self, name: str, *parts: AdapterRef) -> AdapterRef:
        """Have the workers hold the sum of these, to train on top of it and to answer."""
        if self._held is None or self._held[0] != name:
            self._held = name, asyncio.create_task(self._lend(name, parts))
        return await asyncio.shield(self._held[1])  # others wait for it too

    async def _lend(self, name: str, parts: Sequence[AdapterRef]) -> AdapterRef:
        whole, _ = await asyncio.to_thread(total, [await self._adapter(ref) for ref in parts])
        return await self._session.policies.lend(SKILL, whole, name)

    async def _adapter(self, ref: AdapterRef) -> Adapter | None:
        return await asyncio.to_thread(adapters.get, self._session.store, ref) if ref != BASE else None

    async def _step(self, name: str, learn: Callable[[], Awaitable[tuple[Adapter | None, SkillRow]]]) -> SkillRow:
        """A step: from the record, or by taking it."""
        self._steps += 1
        if name not in self._rows:
            found, row = await learn()
            assert found
            ref = await asyncio.to_thread(adapters.put, self._session.store, found)
            self._rows[name] = replace(row, version=self._steps, rank=found.rank, adapter=ref.key)
            self._session.events.emit(self._rows[name])
        return self._rows[name]

    def _finetune(
        self, tasks: Sequence[Task], of_tasks: Sequence[Sequence[OutcomeRow]], number: int
    ) -> FinetuneSpec | None:
        """The update that the graded answers give; sets of answers that could not be graded are left out."""
        asked = [
            [Answered(question.prompt, row.answers[place], row.verdicts[place]) for row in rows if row.verdicts]
            for task, rows in zip(tasks, of_tasks, strict=True)
            for place, question in enumerate(task.questions)
        ]
        seed = derive_seed(SKILL, self._config.run.seed, "update", number)
        return skill_update([answers for answers in asked if answers], self._config.update, seed)

    async def _answers_to(self, reader: _Reader, task: Task, number: int) -> list[OutcomeRow]:
        """So many answers to each of a task's questions."""
        return await all_of(self._answered(reader, task, number, n) for n in range(ANSWERS))

    async def _answered(self, reader: _Reader, task: Task, number: int, n: int) -> OutcomeRow:
        """One answer to each of a task's questions, closed book, graded; sampled once."""
        prompts, longest, stop = self._domain.questions(task), self._config.trial.answer_tokens, self._domain.stop
        seeds = [derive_seed(SKILL, self._config.run.seed, task.id, number, n, k) for k in range(len(prompts))]
        right = [question.answer for question in task.questions]
        key = content_key(SKILL, reader.name, prompts, seeds, longest, stop, right)
        if key not in self._answers:
            at = await self.hold(reader.name, *reader.parts)
            requests = [
                SampleRequest(at, prompt, seed, max_tokens=longest, stop=stop)
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
            written = await all_of(map(self._session.cluster.sample, requests))
            outcome = Outcome(key, tuple(each.text for each in written), tokens=sum(each.tokens for each in written))
            self._answers[key] = row = OutcomeRow.of(await self._graded(task, outcome))
            self._session.events.emit(row)
        self._session.events.emit(Advanced(_ANSWERS))
        return self._answers[key]

    async def _graded(self, task: Task, outcome: Outcome) -> Outcome:
        try:
            grade = await self._domain.grade(task, outcome.answers)
        except DataError as error:
            logger.warning("%s: answers to %s could not be graded and are left out: %s", SKILL, task.id, error)
            return replace(outcome, reward=0.0)
        return replace(outcome, reward=grade.reward, verdicts=grade.verdicts)
