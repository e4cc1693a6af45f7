"""One lesson of a continual sequence taken out again: a library leaves it out, a sum has it subtracted.

Then every passage is asked once more. The run's record stays as it is; the policy without the lesson is a row of its
own, written last, so that whoever is killed has either the one policy or both, and does nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from dataclasses import replace
from shlex import quote

from seal_ray.adapters.lora import Adapter
from seal_ray.adapters.merge import without
from seal_ray.config import IN_PROCESS, Config
from seal_ray.continual.base import find_way, keeps_of
from seal_ray.domains.base import KnownBefore
from seal_ray.domains.drawing import held_out_tasks
from seal_ray.domains.registry import load_domain
from seal_ray.events import Observer, StageBegan
from seal_ray.loop.continual import Stream, numbered_before, orders_of
from seal_ray.loop.moved import Yardstick
from seal_ray.loop.session import Session, open_run
from seal_ray.loop.synthetic_questions import with_questions
from seal_ray.policy import adapters
from seal_ray.policy.catalogue import Held
from seal_ray.policy.lineage import MAIN, lineage, sequence_head
from seal_ray.policy.retraction import (
    RETRACTION,
    RETRACTION_ELSEWHERE,
    Retraction,
    answers,
    retracted,
    retraction,
    steps_of,
)
from seal_ray.record.continual import CONTINUAL, orders, trials_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, RetractedRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.rundir.identity import identify
from seal_ray.types import BASE, AdapterRef, Policy, Task, UserError, content_key


def retract(directory: str, lesson: Held, *observers: Observer) -> Retraction:
    """Take a lesson out of its sequence, beside those that are out already; what was done before is only told."""
    config, journal = recorded_config(directory), Journal(Store(directory))
    row = _lesson_of(lesson)
    _refuse(directory, config, journal, row)
    if _left(journal, row):
        _Retracting(directory, config, row).do(observers)
        journal = Journal(Store(directory))
    first = next(each for each in retracted(journal, row.way, row.sequence) if row.step in each.out)
    return retraction(journal, first, answers(journal))


def in_this_process(config: Config) -> Config:
    """The config with its workers here; the sampler answers only what a judge of the run's own base is asked."""
    elsewhere = config.sampling.engine == "endpoint"
    sampling = config.sampling if elsewhere else replace(config.sampling, engine="transformers")
    return replace(config, sampling=sampling, workers=replace(config.workers, address=IN_PROCESS))


def _lesson_of(held: Held) -> LearntRow:
    if isinstance(held.row, LearntRow) and held.kind == "lesson":
        return held.row
    if held.kind == "round":
        raise UserError(
            f"{held.name}: all that it was trained on is in one adapter, so no part of it can be taken out; train it "
            "again without that"
        )
    raise UserError(f"{held.name}: is what several passages came to; name a lesson of one, WAY/SEQUENCE/lesson-NUMBER")


def _left(journal: Journal, lesson: LearntRow) -> tuple[int, ...]:
    """The passages that are out once this one is too; none where it is out already."""
    known = retracted(journal, lesson.way, lesson.sequence)
    if any(lesson.step in each.out for each in known):
        return ()
    return tuple(sorted({lesson.step, *(known[-1].out if known else ())}))


def _refuse(directory: str, config: Config, journal: Journal, row: LearntRow) -> None:
    """Say why a lesson cannot be taken out, where it cannot."""
    head, keeps = sequence_head(row.sequence, row.way), keeps_of(row.way)
    if keeps == "mixed":
        raise UserError(
            f"{head}: what passages taught is in one adapter there, in which none can be told from the others; train "
            "it again without that passage"
        )
    if not any((order.way, order.number) == (row.way, row.sequence) for order in orders(journal)):
        raise UserError(f"{head}: is not at its end; `seal-ray resume {quote(directory)}` first")
    if config.trial.eval_engine != "bank":
        raise UserError(f"{head}: was asked by {config.trial.eval_engine} (trial.eval_engine), and not by a bank")
    if keeps != "apart" and row.step not in _changes(journal, row):
        raise UserError(f"{head}: nothing of passage {row.step} was let in, so nothing of it can be taken out")


Changes = dict[int, tuple[str, str]]
"""The passages that changed the policy, each with the adapters before it and after it."""


def _changes(journal: Journal, lesson: LearntRow) -> Changes:
    rounds = lineage(journal).get(MAIN)
    key, found = rounds[-1].adapter if rounds else "", {}
    for row in steps_of(journal, lesson.way, lesson.sequence):
        if row.adapter != key:
            found[row.step] = (key, row.adapter)
        key = row.adapter
    return found


class _Rest(Stream):
    """A sequence that is at its end, of which not all lessons count any more."""

    @property
    def policy(self) -> Policy:
        """What it came to."""
        return self._policy

    async def ask_without(self, gone: Set[str], policy: Policy, stage: str, arm: str, tasks: Sequence[Task]) -> None:
        """Ask this policy, and in a library the lessons of all passages but these."""
        self._policy, self.lessons = policy, [each for each in self.lessons if each.task.id not in gone]
        await self._ask(stage, arm, tasks)


class _Retracting:
    """One sequence without some lessons: made, asked, put on record."""

    def __init__(self, directory: str, config: Config, lesson: LearntRow) -> None:
        self._directory, self._lesson = directory, lesson
        self._way, self._sequence = lesson.way, lesson.sequence
        self._domain = load_domain(config)
        self._identity, self._config = identify(config, self._domain), in_this_process(config)
        self._tasks = held_out_tasks(config, self._domain)

    def do(self, observers: Sequence[Observer]) -> None:
        """All of it; what of it is on record is not done again.

        What is out is asked once the directory is held: another command may have taken out a lesson until then.
        """
        with open_run(self._config, self._domain, self._identity, observers) as opened:
            _refuse(self._directory, self._config, opened.journal, self._lesson)
            if out := _left(opened.journal, self._lesson):
                self._out, self._head = out, sequence_head(self._sequence, self._way, out)
                self._changes = _changes(opened.journal, self._lesson)
                opened.drive(self._body, self._domain.prompt(self._tasks[0]))

    async def _body(self, session: Session) -> None:
        stream = await self._at_the_end(session)
        policies, policy, error, rank = session.policies, stream.policy, 0.0, 0
        key = content_key("retracted", policy.name, self._out)
        version = 1 + max(row.version for rows in lineage(session.journal).values() for row in rows)
        if keeps_of(self._way) != "apart":
            adapter, error = await asyncio.to_thread(self._without, session.store)
            ref = await asyncio.to_thread(adapters.put, session.store, adapter) if adapter else BASE
            rank = adapter.rank if adapter else 0
            policy = Policy(key, version, ref)
            await policies.lend(self._head, adapter)
        rows = steps_of(session.journal, self._way, self._sequence)
        gone = {row.task_id for row in rows if row.step in self._out}
        before = self._domain.known_before() if isinstance(self._domain, KnownBefore) else ()
        for stage, tasks in ((RETRACTION, stream.order), (RETRACTION_ELSEWHERE, before)):
            session.events.emit(StageBegan(f"{stage}: trials", len(tasks)))
            await stream.ask_without(gone, policy, stage, self._head, tasks)
        await policies.end(self._head)
        where = (version, self._sequence, self._way, self._out)
        session.events.emit(RetractedRow(key, *where, rank, policy.adapter.key, error))

    async def _at_the_end(self, session: Session) -> _Rest:
        """The sequence gone through again, all of it from the record."""
        config, policies = session.config.continual, session.policies
        rounds = lineage(session.journal).get(MAIN)
        session.runner.policy = await (policies.stand(MAIN, rounds[-1]) if rounds else policies.begin())
        order = orders_of(session.config, await with_questions(session, self._tasks))[self._sequence]
        number = config.ways.index(self._way) * config.sequences + self._sequence
        session.events.emit(StageBegan(f"{CONTINUAL}: self-edits", config.passages))
        for stage, pieces in trials_of(replace(config, sequences=1, ways=(self._way,)), 0).items():
            session.events.emit(StageBegan(stage, pieces))
        way, before = find_way(self._way, session.config), numbered_before(session, session.runner.policy)
        stream = _Rest(
            session=session,
            name=self._way,
            way=way,
            sequence=self._sequence,
            order=order,
            elsewhere=(),
            practised=(),
            number=number,
            before=before,
            yardstick=Yardstick(),
        )
        await stream.through()
        return stream

    def _without(self, store: Store) -> tuple[Adapter | None, float]:
        """The last policy's adapter without what the passages that are out changed in it; and what compressing lost."""

        def held(key: str) -> Adapter | None:
            return adapters.get(store, AdapterRef(key)) if key else None

        keys = list(self._changes.values())
        whole, taken = held(keys[-1][1]), [self._changes[step] for step in self._out if step in self._changes]
        steps = [(held(before), after) for before, key in taken if (after := held(key))]
        if not whole or len(taken) == len(keys):
            return held(keys[0][0]), 0.0
        most = self._config.update.max_rank
        added = sum(after.rank - (before.rank if before else 0) for before, after in steps)
        return without(whole, steps, whole.rank if whole.rank == most else whole.rank - added)
