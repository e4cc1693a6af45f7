"""Where in a run a trial belongs, and what is kept in memory of what the journal holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, SelfEditRow
from seal_ray.selection.rules import Candidate
from seal_ray.types import Completion, Outcome, SelfEdit

PASSAGE = "passage only"
"""What domains call the trial of a task's own text."""


@dataclass(frozen=True)
class Place:
    """The place of a trial in a run, which names its row in the journal."""

    stage: str
    arm: str
    task_id: str
    index: int = 0


class TrialSummary(NamedTuple):
    """What decisions need of an outcome; everything else stays in the journal, or a long run would fill the memory."""

    reward: float
    """What it taught, less what it cost of what was known before where the reward has a memory."""
    problem: str
    """Why it failed, when it did."""
    verdicts: tuple[float, ...] = ()
    """One for each question."""


@dataclass(frozen=True)
class Beside:
    """Rows of another run, by their keys, which hold all that they depend on: what is named alike is alike."""

    self_edits: Mapping[str, SelfEditRow] = field(default_factory=dict)
    outcomes: Mapping[str, OutcomeRow] = field(default_factory=dict)

    @classmethod
    def of(cls, journal: Journal) -> Beside:
        return cls(
            {row.key: row for row in journal.read(SelfEditRow)}, {row.key: row for row in journal.read(OutcomeRow)}
        )


def trial_summary(outcome: Outcome, memory_coef: float) -> TrialSummary:
    """What decisions need of an outcome."""
    reward = (outcome.reward or 0.0) - memory_coef * (outcome.forgotten or 0.0)
    problem = (outcome.failure.reason or "failed")[:300] if outcome.failure else ""
    return TrialSummary(reward, problem, outcome.verdicts)


def candidate_of(edit: SelfEdit, tried: Sequence[TrialSummary]) -> Candidate:
    """A self-edit with the rewards of its trials; one that failed makes it unusable."""
    problem = next((each.problem for each in tried if each.problem), "")
    judged = [each.verdicts for each in tried if each.verdicts]
    verdicts = tuple(fmean(of_one) for of_one in zip(*judged, strict=False))
    return Candidate(edit, tuple(each.reward for each in tried), problem, verdicts)


def filled(edit: SelfEdit, text: Completion) -> SelfEdit:
    """A self-edit with the text that was written for it."""
    return replace(
        edit,
        completion=text.text,
        tokens=text.tokens,
        finished=text.finished,
        refused=text.refused,
    )
