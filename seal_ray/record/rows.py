"""The rows of a run's tables: one frozen dataclass a table, from which its schema follows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import pyarrow as pa

from seal_ray.types import Completion, Failure, Outcome, Prompt, SelfEdit, content_key

MERGE = "merge"
"""The way in which passages that arrive one after another enter a policy where no other is named."""
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@dataclass(frozen=True)
class Row:
    """What every table's rows have: a key that names the row by all that it depends on."""

    TABLE: ClassVar[str]
    SAVED_AT_ONCE: ClassVar[bool] = False
    """Whether it is on disk before anything else is done."""

    key: str

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """A row as it was read; what an older version did not write has its default."""
        values: dict[str, Any] = {}
        for name in cls._names():
            if (value := row.get(name)) is not None:
                values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    @classmethod
    def each(cls, table: pa.Table) -> Iterator[Self]:
        """The rows of a table; a column that it lacks has its default."""
        for batch in table.to_batches(max_chunksize=1000):
            yield from map(cls.from_dict, batch.to_pylist())

    @classmethod
    @cache
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))

    @classmethod
    def schema(cls) -> pa.Schema:
        hints = get_type_hints(cls)
        return pa.schema([(name, _arrow(hints[name])) for name in cls._names()])


def _arrow(hint: Any) -> pa.DataType:
    kinds = [kind for kind in get_args(hint) if kind not in (NoneType, Ellipsis)]
    if get_origin(hint) is tuple:
        return pa.list_(_ARROW[kinds[0]])
    return _ARROW[kinds[0] if kinds else hint]


@dataclass(frozen=True)
class SelfEditRow(Row):
    """A self-edit that was written, for the stage that needed it first."""

    TABLE = "self_edits"

    stage: str = ""
    task_id: str = ""
    prompt: str = ""
    completion: str = ""
    refused: str = ""
    worker: str = ""
    index: int = 0
    policy: int = 0
    seed: int = 0
    tokens: int = 0
    finished: bool = True
    strategy: str = ""
    """The one of `sampling.strategies`, or the hint of the playbook, that it was written with; empty for none."""

    @classmethod
    def of(cls, edit: SelfEdit, stage: str, worker: str) -> Self:
        names = ("task_id", "index", "policy", "completion", "seed", "tokens", "finished", "refused", "strategy")
        same = {name: getattr(edit, name) for name in names}
        return cls(edit.key, stage=stage, prompt=prompt_text(edit.prompt), worker=worker, **same)

    @property
    def written(self) -> Completion:
        return Completion(self.completion, self.tokens, self.finished, refused=self.refused)


@dataclass(frozen=True)
class HintRow(Row):
    """What is known of a hint after a round; the last row of a hint tells how it stands."""

    TABLE = "hints"

    text: str = ""
    round: int = 0
    """The round after which; what a hint has behind it when it comes is nothing."""
    since: int = 0
    """The round from which on self-edits are written with it."""
    tried: int = 0
    """How many were."""
    gains: tuple[float, ...] = ()
    """Of each task that it was tried on: what they earned on average over the task's self-edits without a hint."""
    dropped: bool = False
    tasks: tuple[str, ...] = ()
    """Those tasks; older runs did not write them down."""


@dataclass(frozen=True)
class QuestionRow(Row):
    """Questions that a model wrote for a task that came without any."""

    TABLE = "questions"

    task_id: str = ""
    prompt: str = ""
    completion: str = ""
    worker: str = ""


@dataclass(frozen=True)
class PlannedRow(Row):
    """A trial and one of the places in a run that wants its outcome; several may want the same."""

    TABLE = "planned"

    stage: str = ""
    arm: str = ""
    task_id: str = ""
    recipe: str = ""
    trial: str = ""
    index: int = 0
    replicate: int = 0
    policy: int = 0
    seed: int = 0

    @classmethod
    def at(
        cls, stage: str, arm: str, task_id: str, index: int, replicate: int, trial: str, key: str = "", **more: Any
    ) -> Self:
        key = key or content_key(stage, arm, task_id, index, replicate, trial)
        where = {"stage": stage, "arm": arm, "task_id": task_id, "index": index, "replicate": replicate}
        return cls(key, trial=trial, **where, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class OutcomeRow(Row):
    """What a trial resulted in."""

    TABLE = "outcomes"

    failure: str | None = None
    reason: str | None = None
    worker: str = ""
    steps: int = 0
    tokens: int = 0
    reward: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    seconds: float = 0.0
    answers: tuple[str, ...] = ()
    verdicts: tuple[float, ...] = ()
    log_likelihoods: tuple[float, ...] = ()
    cut: tuple[bool, ...] = ()
    """Whether each answer was cut off at its longest; older versions did not write it down."""
    forgotten: float | None = None
    """What it cost of what was known before, in nats a token, beside the reward; None where that was not asked."""

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        left = ("failure", "warnings", "divergences")
        same = {name: value for name, value in vars(outcome).items() if name not in left}
        failure = outcome.failure
        return cls(**same, failure=failure.kind if failure else None, reason=failure.reason if failure else None)

    @property
    def outcome(self) -> Outcome:
        same = {name: value for name, value in vars(self).items() if name not in ("failure", "reason")}
        failure = Failure(self.failure, self.reason or "") if self.failure else None  # type: ignore[arg-type]
        return Outcome(**same, failure=failure)


@dataclass(frozen=True)
class PolicyRow(Row):
    """A version of the policy, and the update that made it."""

    TABLE = "policies"
    SAVED_AT_ONCE = True

    version: int = 0
    """The round that it was made in; 0 for a warm start, which is before the first."""
    parent: int = 0
    """The version that it was trained on top of; -1 for a warm start, which is on top of the base."""
    kept: int = 0
    """How many self-edits it was trained on; of a warm start, how many examples."""
    steps: int = 0
    rank: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    compression_error: float | None = None
    seconds: float = 0.0
    adapter: str = ""
    """The hash that its adapter is kept under."""
    losses: tuple[float, ...] = ()
    """The loss of every step; older versions did not write them down."""


@dataclass(frozen=True)
class LearntRow(Row):
    """One passage of a continual sequence, learnt on top of those before."""

    TABLE = "continual"
    SAVED_AT_ONCE = True

    task_id: str = ""
    version: int = 0
    sequence: int = 0
    step: int = 0
    rank: int = 0
    adapter: str = ""
    """The hash that its adapter is kept under; empty where nothing was learnt yet."""
    way: str = MERGE
    """How it entered the policy."""
    learned: str = ""
    """The hash that what was trained for this passage alone is kept under; empty where nothing was."""
    tokens: int = 0
    """Tokens that were trained on for it."""
    seconds: float = 0.0
    moved: float | None = None
    """How much less likely than at the beginning its first policy's answers to what that knew are, in nats a token."""
    plain: float | None = None
    """The same of plain texts, which say how much worse than before language is foreseen."""
    diverged: float | None = None
    """How far what is predicted along those answers is from what its first policy predicts, in nats a token."""
    found: float | None = None
    """Of a way whose lessons answer by themselves, once all were asked: the share of questions that find their own."""


@dataclass(frozen=True)
class StudyRow(Row):
    """What a method had written of a task."""

    TABLE = "studies"

    task_id: str = ""
    method: str = ""
    texts: int = 0
    """How many it might have written, or had within its budget; 0 for a method that has none written."""
    edits: tuple[str, ...] = ()
    """The keys of what was written."""
    recipe: str = ""
    """The key of what was trained of it; empty for a method that trains nothing."""
    budget: int = 0
    """Tokens that it might have written; 0 where it was held to a number of texts."""
    together: bool = False
    """Whether one adapter was trained on all tasks at once."""
    trained: int = 0
    """Tokens that it might have trained on, over all epochs; 0 where it was held to something else."""
    found: float | None = None
    """The share of the task's questions that found their own text; None where none was looked for."""


@dataclass(frozen=True)
class SkillRow(Row):
    """One step towards the skill of `past`: training passages that were read, or an update on answers about them."""

    TABLE = "skills"
    SAVED_AT_ONCE = True

    version: int = 0
    """Which step it is."""
    passages: int = 0
    answers: int = 0
    """How many were sampled; none where passages were read."""
    right: float | None = None
    """The share of them that was right."""
    trained: int = 0
    """Tokens that were trained on."""
    written: int = 0
    """Tokens of the answers."""
    rank: int = 0
    adapter: str = ""
    """The hash that what was learnt is kept under: by the passages alone, or the skill so far."""


@dataclass(frozen=True)
class ContradictedRow(Row):
    """A question of a passage in turn that the base answers otherwise, or an earlier passage does."""

    TABLE = "contradicted"

    sequence: int = 0
    place: int = 0
    """Of the passage in its order, counted from 0."""
    question: int = 0
    """Its number among those of the passage."""
    answer: str = ""
    """What was said before."""
    firmness: float | None = None
    """How probable that was where the order began, a token; None where an earlier passage said it."""
    earlier: int = -1
    """The place of that passage."""
    earlier_question: int = -1


@dataclass(frozen=True)
class RetractedRow(Row):
    """The policy of a continual sequence with one or more lessons taken out again."""

    TABLE = "retracted"
    SAVED_AT_ONCE = True

    version: int = 0
    sequence: int = 0
    way: str = MERGE
    out: tuple[int, ...] = ()
    """The passages whose lessons are out, counted from 1."""
    rank: int = 0
    adapter: str = ""
    """The hash that its adapter is kept under; empty where that is the untouched base."""
    error: float = 0.0
    """The norm of what compression lost over the norm of the whole."""


@dataclass(frozen=True)
class KeptRow(Row):
    """A self-edit that a round kept for its update."""

    TABLE = "kept"

    stage: str = ""
    task_id: str = ""
    self_edit: str = ""
    index: int = 0
    reward: float | None = None


@dataclass(frozen=True)
class SpanRow(Row):
    """One call of a worker: from when to when, as the driver saw it."""

    TABLE = "spans"

    stage: str = ""
    what: str = ""
    worker: str = ""
    start: float = 0.0
    end: float = 0.0

    @classmethod
    def of(cls, what: str, worker: str, start: float, end: float) -> Self:
        return cls(content_key(what, worker, start, end), what=what, worker=worker, start=start, end=end)


ROWS: tuple[type[Row], ...] = (
    SelfEditRow,
    HintRow,
    QuestionRow,
    PlannedRow,
    OutcomeRow,
    PolicyRow,
    LearntRow,
    StudyRow,
    ContradictedRow,
    SkillRow,
    RetractedRow,
    KeptRow,
    SpanRow,
)
TABLES: dict[str, pa.Schema] = {row.TABLE: row.schema() for row in ROWS}


def prompt_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else json.dumps([vars(message) for message in prompt])
