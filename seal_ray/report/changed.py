"""Held-out tasks one by one: what each arm earned on them, and what was written for them before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_ray.record.rows import PlannedRow
from seal_ray.report.arms import Arm
from seal_ray.report.best_worst import OPEN_TEXT, PROMPT_TEXT, SAMPLES, LookUp
from seal_ray.report.edits import Shown, Where
from seal_ray.report.tasks import Tasks

STAGE = "evaluation"
_ROWS = 1000
_EACH = 3


@dataclass(frozen=True)
class TaskLine:
    """What one held-out task earned, arm by arm."""

    title: str
    rewards: tuple[float | None, ...]
    change: float | None
    """From the untrained policy to the last one."""


@dataclass(frozen=True)
class TaskTable:
    arms: tuple[str, ...]
    lines: tuple[TaskLine, ...]
    unseen: int


@dataclass(frozen=True)
class Change:
    """The self-edits on a task by the untrained and by the last policy; one alone where the other was not measured."""

    title: str
    written: tuple[tuple[str, Shown], ...]
    """The first self-edit of each, by its arm's name."""
    gain: float | None
    """Over all trials of the task."""


def task_table(arms: Sequence[Arm], tasks: Tasks) -> TaskTable:
    """Baselines, the untrained policy and the last one, on each task; what changed most comes first."""
    ends = _ends(arms)
    found = [arm for arm in arms if arm.round is None] + ends
    first, last = (ends[0].of_task, ends[-1].of_task) if len(ends) == 2 else ({}, {})
    ids = dict.fromkeys(task for arm in found for task in arm.of_task)
    lines = [
        TaskLine(
            tasks.title(STAGE, task),
            tuple(arm.of_task.get(task) for arm in found),
            last[task] - first[task] if task in first and task in last else None,
        )
        for task in ids
    ]
    lines.sort(key=lambda line: -abs(line.change or 0.0))
    return TaskTable(tuple(arm.name for arm in found), tuple(lines[:_ROWS]), max(0, len(lines) - _ROWS))


def changes(arms: Sequence[Arm], planned: Sequence[PlannedRow], look_up: LookUp, tasks: Tasks) -> tuple[Change, ...]:
    """The tasks with the largest gains, then those with the smallest, or with losses; and what was written for them."""
    ends = _ends(arms)
    if not ends:
        return ()
    chosen = _most_changed(ends)
    policy = {row.arm: row.policy for row in planned if row.stage == STAGE}
    places: dict[str, list[tuple[str, Where]]] = {
        task: [(arm.name, (STAGE, task, 0, policy.get(arm.name, arm.round or 0))) for arm in ends] for task in chosen
    }
    lookup = look_up(place for ways in places.values() for _, place in ways)
    first, last = ends[0].of_task, ends[-1].of_task
    found = []
    for task, ways in places.items():
        written = [(name, lookup.shown(at, OPEN_TEXT, 0 if i else PROMPT_TEXT)) for i, (name, at) in enumerate(ways)]
        gain = last[task] - first[task] if len(ends) > 1 else None
        found.append(Change(tasks.title(STAGE, task), tuple(written), gain))
    return tuple(found)


def _ends(arms: Sequence[Arm]) -> list[Arm]:
    """The measurements of the untrained policy and of the last one, as far as there are any."""
    policies = [arm for arm in arms if arm.round is not None]
    return [policies[0], policies[-1]] if len(policies) > 1 else policies


def _most_changed(ends: Sequence[Arm]) -> list[str]:
    first, last = ends[0].of_task, ends[-1].of_task
    both = sorted((task for task in first if task in last), key=lambda task: (first[task] - last[task], task))
    if len(ends) < 2:
        return sorted(first)[:SAMPLES]
    return list(dict.fromkeys([*both[:_EACH], *both[::-1][:_EACH]]))
