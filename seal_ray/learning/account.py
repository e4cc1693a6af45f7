"""What was learnt and what it cost, from the record."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from seal_ray.intervals import total_length
from seal_ray.record.account import Account
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PolicyRow, SelfEditRow, SpanRow
from seal_ray.record.summary import interval, measured

if TYPE_CHECKING:
    from seal_ray.learning.study import Study


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
