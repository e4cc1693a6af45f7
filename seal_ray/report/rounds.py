"""What each round's trials said: rewards of the self-edits, and what selection gained."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, PolicyRow, SelfEditRow
from seal_ray.record.written import round_number
from seal_ray.selection.reliability import reliability

Place = tuple[str, str, int]
"""stage, task, index: where a self-edit was tried."""


@dataclass(frozen=True)
class Candidate:
    """A self-edit of a round with the rewards of its trials so far, one per seed."""

    place: Place
    rewards: tuple[float, ...]
    """One for each trial that has ended; 0 for a failed one."""
    kept: bool
    failed: bool = False
    """Whether any of its trials failed: then its rewards say nothing about the noise between seeds."""
    forgotten: float | None = None
    """What its trials cost of what was known before, in nats a token, where that was asked."""

    @property
    def task_id(self) -> str:
        return self.place[1]

    @property
    def reward(self) -> float:
        return fmean(self.rewards)


@dataclass(frozen=True)
class Round:
    number: int
    written: int
    """Self-edits."""
    trials: int
    """Planned."""
    pending: int
    failed: int
    candidates: tuple[Candidate, ...]
    """The self-edits with at least one reward."""
    kept: int
    mean: float | None
    kept_mean: float | None
    gain: float | None
    """How far the kept ones exceed the mean of their own tasks' candidates."""
    between: float | None
    """Standard deviation of a task's self-edits around their mean, each the mean of its seeds."""
    within: float | None
    """Standard deviation of a self-edit's seeds around their mean."""
    reliability: float | None
    policy: PolicyRow | None
    """The update that ended the round."""
    forgotten: float | None
    """What a self-edit cost of what was known before, in nats a token; None where that was not asked."""
    kept_forgotten: float | None
    kept_by: float | None
    """The mean of what those kept were chosen by."""


def place_of(row: PlannedRow | KeptRow | SelfEditRow) -> Place:
    return row.stage, row.task_id, row.index


def rounds(
    planned: Sequence[PlannedRow],
    outcomes: Mapping[str, OutcomeRow],
    edits: Iterable[SelfEditRow],
    kept: Iterable[KeptRow],
    policies: Iterable[PolicyRow],
) -> tuple[Round, ...]:
    """Every round that has begun, in order."""
    chosen = {place_of(row): row.reward for row in kept}
    written = Counter(row.stage for row in edits)
    by_stage: dict[str, list[PlannedRow]] = defaultdict(list)
    for row in planned:
        by_stage[row.stage].append(row)
    versions = {row.version: row for row in policies}
    numbers = {n for stage in {*written, *by_stage} if (n := round_number(stage)) is not None}
    return tuple(
        _round(n, written[f"round {n}"], by_stage[f"round {n}"], outcomes, chosen, versions.get(n))
        for n in sorted(numbers | set(versions) - {0})  # 0 is a warm start
    )


def _round(
    number: int,
    written: int,
    planned: Sequence[PlannedRow],
    outcomes: Mapping[str, OutcomeRow],
    chosen: Mapping[Place, float | None],
    policy: PolicyRow | None,
) -> Round:
    ended = [(row, outcomes[row.trial]) for row in planned if row.trial in outcomes]
    rewards: dict[Place, list[float]] = defaultdict(list)
    costs: dict[Place, list[float]] = defaultdict(list)
    failed: set[Place] = set()
    for row, outcome in ended:
        if outcome.forgotten is not None:
            costs[place_of(row)].append(outcome.forgotten)
        if outcome.reward is not None:
            rewards[place_of(row)].append(outcome.reward)
        if outcome.failure is not None:
            failed.add(place_of(row))
    candidates = [
        Candidate(at, tuple(found), at in chosen, at in failed, mean_of(costs[at]))
        for at, found in sorted(rewards.items())
    ]
    tasks, sound = by_task(candidates), by_task(c for c in candidates if not c.failed)
    gains = [c.reward - fmean(o.reward for o in tasks[c.task_id]) for c in candidates if c.kept]
    return Round(
        number=number,
        written=written,
        trials=len(planned),
        pending=len(planned) - len(ended),
        failed=sum(outcome.failure is not None for _, outcome in ended),
        candidates=tuple(candidates),
        kept=sum(stage == f"round {number}" for stage, _, _ in chosen),
        mean=mean_of(c.reward for c in candidates),
        kept_mean=mean_of(c.reward for c in candidates if c.kept),
        gain=mean_of(gains),
        between=_deviation([[c.reward for c in found] for found in sound.values()]),
        within=_deviation([c.rewards for found in sound.values() for c in found]),
        reliability=reliability([[c.rewards for c in found] for found in sound.values()]),
        policy=policy,
        forgotten=mean_of(c.forgotten for c in candidates if c.forgotten is not None),
        kept_forgotten=mean_of(c.forgotten for c in candidates if c.kept and c.forgotten is not None),
        kept_by=mean_of(by for at, by in chosen.items() if by is not None and at[0] == f"round {number}"),
    )


def by_task(candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    tasks: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        tasks[candidate.task_id].append(candidate)
    return tasks


def mean_of(values: Iterable[float]) -> float | None:
    """None where there is none."""
    found = list(values)
    return fmean(found) if found else None


def _deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Pooled over groups of two and more, each around its own mean; None where there is none."""
    squares = sum((value - fmean(group)) ** 2 for group in groups if len(group) > 1 for value in group)
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    return (squares / freedom) ** 0.5 if freedom else None
