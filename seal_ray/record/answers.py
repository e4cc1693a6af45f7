"""What a run's policy answered on held-out tasks, from its journal alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.summary import version_of

Answers = dict[str, list[tuple[str, ...]]]
"""For each task, the answers of each of its trials, in the order of the domain's questions."""


def held_out_answers(journal: Journal, arm: str) -> Answers:
    """The answers of one arm of the evaluation; trials that failed or have not ended are left out."""
    planned = [row for row in journal.read(PlannedRow) if row.stage == "evaluation" and row.arm == arm]
    wanted = {row.trial for row in planned}
    answers = {row.key: row.answers for row in journal.read(OutcomeRow) if row.key in wanted}
    found: Answers = defaultdict(list)
    for row in planned:
        if answers.get(row.trial):
            found[row.task_id].append(answers[row.trial])
    return dict(found)


def last_arm(arms: Sequence[str]) -> str:
    """The arm of the last policy that was measured, or of the last baseline where none was."""
    order = [(-1 if (version := version_of(arm)) is None else version, place) for place, arm in enumerate(arms)]
    return arms[max(order)[1]]
