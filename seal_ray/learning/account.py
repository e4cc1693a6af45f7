"""What was learnt and what it cost, from the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from seal_ray.record.account import Account, known_arm
from seal_ray.record.intervals import total_length
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, PolicyRow, SelfEditRow, SpanRow
from seal_ray.record.summary import interval, measured

if TYPE_CHECKING:
    from seal_ray.domains.knowledge.studied import StudiedTask
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
    trained = next(row for row in journal.read(PolicyRow) if row.key == study.policy.name)
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
        asked=_asked(study, journal),
        steps=trained.steps,
        losses=[each for each in (trained.first_loss, trained.last_loss) if each is not None],
    )


def _asked(study: Study, journal: Journal) -> list[dict[str, str]]:
    """The questions that were reported, with what the base answered and now; nothing where a trial failed."""
    last = {(row.arm, row.task_id): row.trial for row in journal.read(PlannedRow) if row.stage == "evaluation"}
    given = {row.key: row.answers for row in journal.read(OutcomeRow)}

    def answers(arm: str, task: StudiedTask) -> Sequence[str]:
        return given.get(last.get((arm, task.id), "")) or [""] * len(task.held)

    arms = "base", known_arm(study.policy.version)
    return [
        {"passage": task.title, "question": question, "right": right, "before": before, "after": after}
        for task in study.tasks
        for (question, right), before, after in zip(task.held, *(answers(arm, task) for arm in arms), strict=True)
    ]
