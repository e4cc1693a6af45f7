"""Continual self-edits: passages arrive one after another, each learnt on top of those before, and all are measured.

How the accuracy on the first passages falls while others are learnt is forgetting, measured. Each way in which what was
learnt may enter the policy (`seal_ray.continual`) goes through the same sequences of passages. Sequences know nothing
of each other: each moves a head of its own, and workers hold the adapters of all of them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, TypeVar

from seal_ray import plugins
from seal_ray.adapters.lora import Adapter
from seal_ray.adapters.merge import total
from seal_ray.config import SEQUENCES_AT_ONCE, Config
from seal_ray.continual.base import Lesson, Stand, Way, find_way
from seal_ray.domains.base import KnownBefore
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.contradicted import note_contradicted
from seal_ray.loop.memory import answers_of_before
from seal_ray.loop.moved import Distance, Read, Yardstick, yardstick
from seal_ray.loop.odd_passages import come_before, contradictions
from seal_ray.plain import one_line
from seal_ray.policy import adapters
from seal_ray.policy.lineage import sequence_head
from seal_ray.policy.store import Grown
from seal_ray.record.continual import CONTINUAL, ELSEWHERE, arm_of, asks_all, trials_of
from seal_ray.record.rows import LearntRow
from seal_ray.types import (
    BASE,
    AdapterRef,
    Example,
    Outcome,
    Policy,
    Recipe,
    Task,
    Trial,
    UserError,
    content_key,
    derive_seed,
    last_turn,
)

if TYPE_CHECKING:
    from seal_ray.loop.session import Session
    from seal_ray.loop.trials import TrialRunner

logger = logging.getLogger(__name__)

T = TypeVar("T")

LESSONS_AT_ONCE = 8
"""How many lessons of a library workers hold at a time, beside the policies."""


def check_continual(config: Config, tasks: Sequence[Task]) -> None:
    """Refuse sequences longer than what is held out, and ways that there are not."""
    if config.continual.sequences and len(tasks) < config.continual.passages:
        wanted = f"continual.passages is {config.continual.passages}"
        raise UserError(f"{wanted}, and {len(tasks)} are held out; raise domain.test, or lower it")
    if config.continual.sequences > (there := math.perm(len(tasks), config.continual.passages)):
        raise UserError(
            f"continual.sequences is {config.continual.sequences}, and {config.continual.passages} of {len(tasks)} "
            f"held-out passages have {there} orders; raise domain.test, or lower it"
        )
    ways = config.continual.ways if config.continual.sequences else ()
    for name in ways:
        find_way(name, config)
        if ways.count(name) > 1:
            raise UserError(f"continual.ways names {name!r} twice; name each way once")


async def measure_continual(session: Session, tasks: Sequence[Task]) -> None:
    """Every sequence of held-out passages, each beginning with the policy of the last round; several at once."""
    config, emit, domain = session.config.continual, session.events.emit, session.domain
    if not config.sequences:
        return
    check_continual(session.config, tasks)  # again: passages without usable questions were left out
    elsewhere = domain.known_before() if isinstance(domain, KnownBefore) else ()
    streams = config.sequences * len(config.ways)
    emit(StageBegan(f"{CONTINUAL}: self-edits", streams * config.passages))
    for stage, pieces in trials_of(config, len(elsewhere)).items():
        emit(StageBegan(stage, pieces))
    ways = {name: find_way(name, session.config) for name in config.ways}
    held = await yardstick(session, session.runner.policy)
    practises = any(way.practises for way in ways.values())
    start = session.runner.policy
    practised = await answers_of_before(session, start) if practises else ()
    drawn = orders_of(session.config, tasks)
    for line in contradictions(list({task.id: task for order in drawn for task in order}.values())):
        logger.warning("%s", line)
    await note_contradicted(session, drawn, start)
    places, before = asyncio.Semaphore(SEQUENCES_AT_ONCE), numbered_before(session, start)

    async def one(number: int) -> None:
        which, sequence = divmod(number, config.sequences)
        async with places:
            name, order = config.ways[which], drawn[sequence]
            stream = Stream(
                session=session,
                name=name,
                way=ways[name],
                sequence=sequence,
                order=order,
                elsewhere=elsewhere,
                practised=practised,
                number=number,
                before=before,
                yardstick=held,
            )
            await stream.through()

    await all_of(map(one, range(streams)))


def orders_of(config: Config, tasks: Sequence[Task]) -> list[list[Task]]:
    """The orders of passages, no two the same. A longer one begins with the shorter, of as many that are held out."""
    if config.continual.order == "given":
        return [[*tasks[: config.continual.passages]]]
    found: dict[tuple[str, ...], list[Task]] = {}
    for sequence in itertools.count():
        if len(found) == config.continual.sequences:
            return [*found.values()]
        seed = derive_seed("continual", config.run.seed, sequence)
        order = sorted(tasks, key=lambda task: derive_seed(seed, task.id))[: config.continual.passages]
        found.setdefault(tuple(task.id for task in order), order)
    raise AssertionError("there are more seeds than orders")


def numbered_before(session: Session, start: Policy) -> int:
    """The number after which those of the streams' policies come: that of the policy they all begin with.

    In a run whose policies an older version numbered, stream by stream, it is the highest number on record.
    """
    config, known = session.config.continual, list(session.journal.read(LearntRow))
    streams = [(way, sequence) for way in config.ways for sequence in range(config.sequences)]
    at = {stream: number for number, stream in enumerate(streams, 1)}
    as_now = (start.version + (row.step - 1) * len(streams) + at[row.way, row.sequence] for row in known)
    if all(row.version == number for row, number in zip(known, as_now, strict=True)):
        return start.version
    return max(row.version for row in known)


@dataclass(kw_only=True)
class Stream:
    """One sequence learnt in one way, a passage on top of the other; all are asked before the first, and after some."""

    session: Session
    name: str
    way: Way
    sequence: int
    order: Sequence[Task]
    elsewhere: Sequence[Task]
    practised: tuple[Example, ...]
    """What the first policy answers to questions of what it knows; for the ways that practise that."""
    number: int
    """Its number among the sequences of all ways."""
    before: int
    """The number after which those of the policies come: see `numbered_before`."""
    yardstick: Yardstick
    lessons: list[Lesson] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._start = self.session.runner.policy
        self._policy = self._start
        self._head = sequence_head(self.sequence, self.name)
        self._loaded: dict[AdapterRef, Adapter] = {}

    async def through(self) -> None:
        """Learn the passages one after another, and ask in between."""
        policies = self.session.policies
        self._policy = await policies.move(self._head, self._start)
        for step in range(len(self.order) + 1):
            all_asked = asks_all(self.session.config.continual.ask_every, len(self.order), step)
            if step:
                await self._learn(step, all_asked)
            arm = arm_of(self._head, step)
            if all_asked:
                await self._ask(CONTINUAL, arm, self.order)
                await self._ask(ELSEWHERE, arm, self.elsewhere)
            else:
                await self._ask(CONTINUAL, arm, self.order[step - 1 : step], step - 1)
        await policies.end(self._head)

    async def _learn(self, step: int, asks_all: bool) -> None:
        """The next passage, by what is written of it; nothing where the way wants nothing learnt."""
        task = self.order[step - 1]
        written = await self._written(task, self.order[: step - 1])
        stand = await self._stand(asks_all, written)
        recipe = self._given("recipe", Recipe, self.way.recipe(stand, written))
        learned = name = ""
        if recipe or not written:
            version = self._numbered(step)
            where = LearntRow("", task.id, version, self.sequence, step, way=self.name)
            learn = partial(self._learnt, stand, task, recipe, written)
            self._policy, row = await self.session.policies.grow(self._policy, where, learn)
            learned, name = row.learned, row.key
        if written:
            self.lessons.append(Lesson(task, written, AdapterRef(learned), name))

    def _numbered(self, step: int) -> int:
        """The number of the policy after so many passages: no later passage, of this stream or another, changes it."""
        config, names = self.session.config.continual, self.session.names
        if names.since == 1:  # whose policies are called by their numbers
            return self._start.version + self.number * len(self.order) + step
        return self.before + (step - 1) * config.sequences * len(config.ways) + self.number + 1

    async def _written(self, task: Task, earlier: Sequence[Task]) -> Recipe | None:
        """The recipe of a self-edit on a passage; None where none can be used, or where the same text came before."""
        if before := come_before(task, earlier):
            logger.warning("%s: its text is that of %s, which is learnt; nothing is learnt of it", task.id, before.id)
            self.session.events.emit(Advanced(f"{CONTINUAL}: self-edits"))
            return None
        writer = self._start if self.session.config.continual.writer == "start" else self._policy
        trial = await self.session.runner.under(writer).written_trial(CONTINUAL, task)
        return trial.recipe if trial else None

    async def _learnt(self, stand: Stand, task: Task, recipe: Recipe | None, written: Recipe | None) -> Grown | None:
        """Train on one passage and let the lesson enter the policy; None where nothing could be trained."""
        if recipe is None:
            return None
        policies, below = self.session.policies, f"{self._head}, below"
        stand = replace(stand, below=self._given("base", Adapter, await asyncio.to_thread(self.way.base, stand)))
        at = await policies.lend(below, stand.below)
        seed = derive_seed("trial", self.session.config.run.seed, task.id, 0)
        outcome, learned = await self.session.cluster.train_adapter(Trial(task.id, at, recipe, seed, ()))
        await policies.end(below)
        self.session.runner.warn(task.id, outcome)
        if outcome.failure or learned is None:
            reason = outcome.failure.reason if outcome.failure else "nothing was trained"
            logger.warning("%s: nothing is learnt of it: %s", task.id, reason)
            adapter, learned = stand.head, None
        else:
            adapter = self._given("enter", Adapter, await self.way.enter(stand, learned, self._likelihoods))
            if adapter is None and ":" in self.name:
                logger.warning("continual.ways %r: its `enter` gave None, which is the untouched base", self.name)
        # A lesson that taught nothing has a place among them: where each is asked by itself, questions may find it.
        lessons = [*self.lessons, Lesson(task, written, learned.ref if learned else BASE)] if written else self.lessons
        far = await self._distance(adapter, lessons, learned)
        found = await asyncio.to_thread(found_own, self.way, lessons) if stand.asked else None
        return Grown(learned, adapter, outcome.tokens, outcome.seconds, far.moved, far.plain, far.diverged, found)

    def _given(self, method: str, kind: type[T], found: T | None) -> T | None:
        """What the way gave, which one of the user's own may get wrong."""
        by, wanted = f"continual.ways {self.name!r}: its `{method}`", f"{kind.__name__} is wanted, or None"
        return None if found is None else plugins.given(by, found, kind, wanted)

    async def _distance(self, policy: Adapter | None, lessons: Sequence[Lesson], learned: Adapter | None) -> Distance:
        """How far the policy is from where the stream began; each answer is read by the lesson that would give it now.

        What was `learned` last, if anything was, is not kept yet.
        """
        held, found = self.yardstick, list[Read]()
        asked = [last_turn(question) for question in held.questions]
        chosen = await asyncio.to_thread(lessons_for, self.way, asked, lessons)
        for number in dict.fromkeys(chosen):
            under = await self._of(lessons[number], learned) if number is not None else None
            places = [place for place, each in enumerate(chosen) if each == number]
            texts = [held.said[place] for place in places]
            outcome = await self._likely(under or policy, texts, self._start.adapter)
            told = outcome.divergences or [None] * len(outcome.log_likelihoods)
            found += map(Read, places, outcome.log_likelihoods, told)
        plain = (await self._likely(policy, held.plain)).log_likelihoods if held.plain else ()
        return held.distance(found, plain)

    async def _of(self, lesson: Lesson, last: Adapter | None = None) -> Adapter | None:
        """A lesson's adapter on top of the policy that the stream began with; None where the lesson has none."""
        if not lesson.adapter.key:
            return None
        learned = last if last and last.ref == lesson.adapter else await self._adapter(lesson.adapter)
        start = await self._adapter(self._start.adapter)
        return (await asyncio.to_thread(total, (start, learned)))[0]

    async def _stand(self, asks_all: bool, written: Recipe | None) -> Stand:
        start, head = [await self._adapter(policy.adapter) for policy in (self._start, self._policy)]
        new = written.examples if written else ()
        return Stand(start, head, tuple(self.lessons), self._load, asks_all, new, practised=self.practised)

    async def _adapter(self, ref: AdapterRef) -> Adapter | None:
        return await self.session.policies.adapter(ref) if ref.key else None

    def _load(self, ref: AdapterRef) -> Adapter:
        """The adapter of a lesson, kept in memory: some ways need all of them at every step."""
        if ref not in self._loaded:
            self._loaded[ref] = adapters.get(self.session.store, ref)
        return self._loaded[ref]

    async def _likelihoods(self, adapter: Adapter | None, texts: Sequence[Example]) -> tuple[float, ...]:
        """The mean log-likelihood a token of each text; measured again where a run is continued, and the same."""
        outcome = await self._likely(adapter, texts)
        if outcome.failure:
            raise UserError(f"{self._head}, tried: {outcome.failure.reason}")
        return outcome.log_likelihoods

    async def _likely(
        self, adapter: Adapter | None, texts: Sequence[Example], reference: AdapterRef | None = None
    ) -> Outcome:
        policies, head = self.session.policies, f"{self._head}, tried"
        at = await policies.lend(head, adapter)
        outcome = await self.session.cluster.run_trial(Trial.reading(head, at, texts, reference))
        await policies.end(head)
        return outcome

    async def _ask(self, stage: str, arm: str, tasks: Sequence[Task], first: int = 0) -> None:
        """Each question, of the policy or of that lesson's own which the way chooses for it."""
        asked = [last_turn(question.prompt) for task in tasks for question in task.questions]
        chosen = iter(await asyncio.to_thread(lessons_for, self.way, asked, self.lessons))
        by_lesson: dict[int | None, list[tuple[int, Task]]] = defaultdict(list)
        for column, task in enumerate(tasks, first):
            parts = _parts(task, [next(chosen) for _ in task.questions])
            for number, part in parts.items():
                by_lesson[number].append((column, part))
            if len(parts) > 1:
                self.session.events.emit(Advanced(f"{stage}: trials", 1 - len(parts)))  # each of them will say so
        own = sorted(number for number in by_lesson if number is not None)
        groups: list[list[int | None]] = [[None]]
        groups += [[*own[at : at + LESSONS_AT_ONCE]] for at in range(0, len(own), LESSONS_AT_ONCE)]
        for some in groups:
            under = {number: await self._runner_for(number) for number in some}
            asks = [(under[number], part) for number in some for part in by_lesson[number]]
            await all_of(runner.ask(stage, arm, [part], column) for runner, (column, part) in asks)
            await self.session.policies.end(*map(self._of_lesson, some))

    async def _runner_for(self, number: int | None) -> TrialRunner:
        """A runner under the policy, or under what one lesson taught on top of where the stream began."""
        policies, runner = self.session.policies, self.session.runner
        lesson = self.lessons[number] if number is not None else None
        whole = await self._of(lesson) if lesson else None
        if lesson is None or whole is None:
            return runner.under(self._policy)
        await policies.lend(self._of_lesson(number), whole)
        name = content_key("lesson", lesson.name)
        return runner.under(Policy(name, self._start.version, whole.ref))

    def _of_lesson(self, number: int | None) -> str:
        return f"{self._head}, lesson {number}"


def lessons_for(way: Way, questions: Sequence[str], lessons: Sequence[Lesson]) -> list[int | None]:
    """Which lesson answers each question, as the way says, which one of the user's own may get wrong."""
    found = [*way.lessons_for(questions, lessons)]
    if len(found) != len(questions) or any(each is not None and each not in range(len(lessons)) for each in found):
        gave = f"continual.ways: `lessons_for` of {type(way).__name__} gave {one_line(repr(found), 80)}"
        raise UserError(f"{gave}; for each of {len(questions)} questions a lesson's number is wanted, or None")
    return found


def found_own(way: Way, lessons: Sequence[Lesson]) -> float | None:
    """The share of these passages' questions that are answered by their own lesson; None where lessons do not answer.

    One whose own lesson taught nothing counts as found where it finds that.
    """
    if way.keeps != "apart":
        return None
    asked = asked_of([lesson.task for lesson in lessons])
    chosen = lessons_for(way, [question for _, question in asked], lessons)
    return fmean(own == number for (own, _), number in zip(asked, chosen, strict=True)) if asked else None


def asked_of(tasks: Sequence[Task]) -> list[tuple[int, str]]:
    """What every question says, behind the place of its task."""
    return [(place, last_turn(question.prompt)) for place, task in enumerate(tasks) for question in task.questions]


def _parts(task: Task, chosen: Sequence[int | None]) -> dict[int | None, Task]:
    """A task's questions by the lesson that is to answer them; None: the policy."""
    found: dict[int | None, list[int]] = defaultdict(list)
    for place, number in enumerate(chosen):
        found[number].append(place)
    return {number: task.part(some) if len(found) > 1 else task for number, some in found.items()}
