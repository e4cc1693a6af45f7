"""Failed trials by class and reason, with the texts that caused them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.report.best_worst import LookUp
from seal_ray.report.edits import Lookup, Where, where
from seal_ray.report.sanitize import shown
from seal_ray.report.tasks import Tasks

_REASONS, _CAUSES, _TEXT = 12, 2, 600
ALARMING = 0.05
"""From this share on the page begins with its failures."""


@dataclass(frozen=True)
class Cause:
    """A self-edit of which a trial failed."""

    title: str
    text: str


@dataclass(frozen=True)
class Failures:
    stage: str
    kind: str
    reason: str
    count: int
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True)
class Alarm:
    """The warning at the head of a page of which many trials failed."""

    failed: int
    ended: int
    reason: str
    """The most frequent one."""
    count: int
    """How many failed for it."""


def alarm(found: Sequence[Failures], ended: int) -> Alarm | None:
    """None where few failed."""
    failed = sum(each.count for each in found)
    if failed <= ALARMING * ended:
        return None
    reasons: Counter[str] = Counter()
    for each in found:
        reasons[each.reason] += each.count
    ((reason, count),) = reasons.most_common(1)
    return Alarm(failed, ended, reason, count)


def failures(
    planned: Sequence[PlannedRow], outcomes: Mapping[str, OutcomeRow], look_up: LookUp, tasks: Tasks
) -> tuple[Failures, ...]:
    """The most frequent reasons, by stage and class; the rest of them in one line per stage and class."""
    counts: Counter[tuple[str, str, str]] = Counter()
    met: dict[tuple[str, str, str], list[Where]] = defaultdict(list)
    for row in planned:
        outcome = outcomes.get(row.trial)
        if outcome and outcome.failure:
            reason = (outcome.reason or "").removeprefix(f"{row.task_id}: ")
            kind = row.stage, outcome.failure, shown(reason, 200)
            counts[kind] += 1
            if len(met[kind]) < _CAUSES and where(row) not in met[kind]:
                met[kind].append(where(row))
    top = counts.most_common(_REASONS)
    rest: Counter[tuple[str, str]] = Counter()
    for (stage, kind_, _), count in counts.most_common()[_REASONS:]:
        rest[stage, kind_] += count
    lookup = look_up(place for kind, _ in top for place in met[kind])
    found = [Failures(*kind, count) for kind, count in top]
    found = [
        replace(each, causes=_causes(met[kind], lookup, tasks)) for each, (kind, _) in zip(found, top, strict=True)
    ]
    found += [Failures(stage, kind_, "other reasons", count) for (stage, kind_), count in rest.items()]
    return tuple(sorted(found, key=lambda f: (f.stage, -f.count, f.kind, f.reason)))


def _causes(places: Sequence[Where], lookup: Lookup, tasks: Tasks) -> tuple[Cause, ...]:
    edits = [(place, lookup.shown(place, _TEXT, with_questions=False)) for place in places]
    return tuple(Cause(tasks.title(place[0], place[1]), edit.text) for place, edit in edits if edit.text)
