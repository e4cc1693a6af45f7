"""What was learnt and what it cost, from the record: kept beside it as `learnt.json`, and said in five lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from seal_ray.intervals import total_length
from seal_ray.plain import counted
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PolicyRow, SelfEditRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import FEWEST, Interval, interval, measured
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.learning.study import Study

LEARNT = "learnt.json"


def known_arm(version: int) -> str:
    """What the table calls the policy that has learnt this version of the documents."""
    return f"learnt, version {version}"


@dataclass(frozen=True)
class Elsewhere:
    """How a model does on what no document is about."""

    right: int
    asked: int
    loss: float
    """Nats a token, over the sentences."""


@dataclass(frozen=True)
class Account:
    """What a directory knows, and how well."""

    documents: str
    """The key of the documents."""
    settings: str
    """The name of the run: what decided its results beside the documents."""
    version: int
    adapter: str
    """The hash of the adapter."""
    passages: int
    words: int
    questions: int
    """How many were reported."""
    kept: int
    """Passages that are learnt with a self-edit beside them."""
    arms: Mapping[str, Mapping[str, Any]]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    minutes: float
    """In which workers were at work."""
    trials: int
    tokens: int
    """Trained on by these trials, and written."""
    method: str = ""
    """By which method, with how many texts; empty for `learn`'s own way."""
    texts: int = 0
    """How many it had written."""
    examples: int = 0
    steps: int = 0
    """What the adapter was trained on, and in how many steps; older versions did not write them down."""

    def save(self, store: Store) -> None:
        store.write(LEARNT, json.dumps(asdict(self), indent=2).encode())

    @property
    def _learnt(self) -> str:
        if self.method:
            return f"learnt by {self.method}" + (f", {self.texts} in all" if self.method != "passage" else "")
        return f"{self.kept} of {self.passages} passages are learnt with notes of the model's own"

    def lines(self) -> list[str]:
        """Five lines: what was known before, what is known now, what reading gives, what was lost, and the cost."""
        over = f"{self.questions} synthetic questions on {_of(self.arms, 'base').n} of {self.passages} passages"
        lost = Elsewhere(**self.before), Elsewhere(**self.after)
        return [
            f"knew before: {_share(self.arms, 'base')} of {over}, out of sight",
            f"knows now:   {_share(self.arms, known_arm(self.version))} (the documents out of sight)",
            f"reads:       {_share(self.arms, 'in-context')} (the base, with the passage in its prompt)",
            f"elsewhere:   {lost[1].right} of {lost[1].asked} questions of general knowledge, {lost[0].right} before; "
            f"{lost[1].loss:.2f} nats a token on general sentences, {lost[0].loss:.2f} before",
            f"cost:        {self.minutes:.1f} minutes of work, {self._work}; {self._learnt}",
        ]

    @property
    def _work(self) -> str:
        if self.trials or not self.method:
            return f"{self.trials} trials ({self.tokens} tokens with what they tried)"
        written = f"{counted(self.tokens, 'token')} written"
        if not self.steps:
            return written
        return f"one adapter trained on {counted(self.examples, 'example')} in {counted(self.steps, 'step')}, {written}"


def account_of(study: Study, journal: Journal, documents: str, words: int, settings: str, method: str = "") -> Account:
    """The account of what was just learnt. Of the record, only what these documents asked for counts."""
    reported = {task.id: task for task in study.tasks if task.held}
    arms = {}
    for arm, found in measured(journal).items():
        rewards = [reward for task, reward in found.of_task.items() if task in reported]
        if rewards:
            arms[arm] = asdict(interval(rewards))
    spans = [(row.start, row.end) for row in journal.read(SpanRow)]
    outcomes = [row for row in journal.read(OutcomeRow) if row.steps]
    written = sum(row.tokens for row in journal.read(SelfEditRow))
    return Account(
        documents=documents,
        settings=settings,
        version=study.policy.version,
        adapter=study.policy.adapter.key,
        passages=len(study.tasks),
        words=words,
        questions=sum(len(task.held) for task in reported.values()),
        kept=len(study.kept),
        arms=arms,
        before=asdict(study.before),
        after=asdict(study.after),
        minutes=total_length(spans) / 60,
        trials=len(outcomes),
        tokens=sum(row.tokens for row in outcomes) + written,
        method=method,
        texts=study.texts,
        examples=study.examples,
        steps=next(row.steps for row in journal.read(PolicyRow) if row.key == study.policy.name),
    )


def read_account(store: Store) -> Account | None:
    """The account that a directory holds; None where it has none that this version can read."""
    if not store.exists(LEARNT):
        return None
    try:
        return Account(**json.loads(store.read(LEARNT)))
    except (ValueError, TypeError):
        return None


def known_here(directory: str) -> Account:
    """The account of a directory in which documents were learnt."""
    found = read_account(Store(directory))
    if found is None:
        raise UserError(
            f"{directory}: nothing was learnt here to its end; `seal-ray learn FILE… --into {directory}` does"
        )
    return found


def _of(arms: Mapping[str, Mapping[str, Any]], arm: str) -> Interval:
    return Interval(**arms[arm]) if arm in arms else Interval(0.0, 0.0, 0.0, 0)


def _share(arms: Mapping[str, Mapping[str, Any]], arm: str) -> str:
    found = _of(arms, arm)
    if not found.n:
        return "–"
    between = f"{found.low:.0%} – {found.high:.0%}" if found.n >= FEWEST else "too few to tell"
    return f"{found.accuracy:.0%} ({between})"
