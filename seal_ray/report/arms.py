"""Held-out measurements: each arm's mean, by how much it exceeds the untrained policy, and its tasks one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow
from seal_ray.record.summary import (
    FEWEST,
    UNTRAINED,
    Interval,
    Measured,
    figure,
    interval,
    measured,
    synthetic,
    version_of,
)
from seal_ray.report.sanitize import shown


@dataclass(frozen=True)
class Arm:
    """One held-out measurement."""

    name: str
    round: int | None
    """0 for the untrained policy, None for a baseline."""
    measured: Interval
    gain: Interval | None
    """The gain over untrained self-edits, task by task; None where the two share no task."""
    pending: int
    """Trials planned and not yet ended."""
    of_task: Mapping[str, float]
    """The mean reward of each task."""
    questions: int = 0
    """How many were asked, each counted once whatever the number of trials."""

    @property
    def few(self) -> bool:
        """Whether there are too few tasks for an interval."""
        return self.measured.n < FEWEST

    @property
    def low(self) -> float:
        """The lower end of its interval, or the mean where there is none."""
        return self.measured.accuracy if self.few else self.measured.low

    @property
    def high(self) -> float:
        return self.measured.accuracy if self.few else self.measured.high


def arms(
    journal: Journal, planned: Sequence[PlannedRow], outcomes: Container[str], beside: Sequence[Arm] = ()
) -> tuple[Arm, ...]:
    """Baselines as they were begun, then the policy from untrained to last.

    A run whose untrained policy was not measured is held to that of the run `beside` it.
    """
    measures = measured(journal)
    evaluated = [row for row in planned if row.stage == "evaluation"]
    waiting = Counter(row.arm for row in evaluated if row.trial not in outcomes)
    written, untrained = synthetic(journal), _untrained(measures, beside)
    found = []
    for name, measure in measures.items():
        of_task = measure.of_task
        mean = figure([measure], len(written & measure.rewards.keys()))
        gains = [reward - untrained[task] for task, reward in of_task.items() if task in untrained]
        gain = interval(gains) if gains and name != UNTRAINED and not mean.void else None
        trials = sum(len(rewards) for rewards in measure.rewards.values())
        questions = round(measure.answers * len(of_task) / max(1, trials))
        found.append(Arm(shown(name, 60), version_of(name), mean, gain, waiting[name], of_task, questions))
    return tuple(sorted(found, key=lambda arm: -1 if arm.round is None else arm.round))


def sound(found: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms that have figures: those of which not every trial failed."""
    return tuple(arm for arm in found if not arm.measured.void)


def _untrained(measures: Mapping[str, Measured], beside: Sequence[Arm]) -> Mapping[str, float]:
    mine = measures.get(UNTRAINED)
    if mine and not figure([mine]).void:
        return mine.of_task
    return next((arm.of_task for arm in sound(beside) if arm.round == 0), {})
