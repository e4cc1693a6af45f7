"""The best and the worst self-edit of each task, with their texts, within what a page can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from seal_ray.record.rows import SelfEditRow
from seal_ray.record.written import round_number
from seal_ray.report.edits import Lookup, Shown, Where
from seal_ray.report.rounds import Candidate, Round, by_task
from seal_ray.report.sanitize import bytes_on_page
from seal_ray.report.tasks import Tasks

OPEN_PAIRS, SAMPLES = 20, 5
OPEN_TEXT, PROMPT_TEXT = 3000, 2000
_FOLDED_TEXT, _FOLDED_BYTES = 400, 2_500_000

LookUp = Callable[[Iterable[Where]], Lookup]
"""Looks up what is shown, at once."""


@dataclass(frozen=True)
class Pair:
    """The best and the worst of one task's self-edits, in the round in which they lay furthest apart."""

    title: str
    round: int
    best: Shown
    worst: Shown


@dataclass(frozen=True)
class Sample:
    """One self-edit by itself."""

    title: str
    round: int
    edit: Shown


@dataclass(frozen=True)
class Pairs:
    open: tuple[Pair, ...]
    folded: tuple[Pair, ...]
    samples: tuple[Sample, ...]
    """Where few tasks have a best and a worst, some self-edits of others, whatever they earned."""
    unseen: int
    """Tasks beyond those shown."""
    level: int
    """Tasks whose self-edits all earned the same."""


def pairs(found: Sequence[Round], edits: Sequence[SelfEditRow], look_up: LookUp, tasks: Tasks) -> Pairs:
    """Best and worst self-edit per task, the widest spread first; texts are looked up for those shown alone."""
    widest: dict[str, tuple[Candidate, Candidate]] = {}
    seen: set[str] = set()
    for round_ in found:
        for task_id, candidates in by_task(round_.candidates).items():
            seen.add(task_id)
            best, worst = max(candidates, key=lambda c: c.reward), min(candidates, key=lambda c: c.reward)
            spread = best.reward - worst.reward
            if spread > 0 and (task_id not in widest or spread >= _spread(widest[task_id])):
                widest[task_id] = best, worst
    ordered = sorted(widest.values(), key=lambda pair: (-_spread(pair), pair[0].task_id))
    alone = _alone(edits, widest.keys(), SAMPLES - len(ordered))
    lookup = look_up([*alone, *((*c.place, 0) for pair in ordered for c in pair)])

    def pair(best: Candidate, worst: Candidate, limit: int, prompt: int) -> Pair:
        stage, task, *_ = best.place
        first = lookup.shown((*best.place, 0), limit, prompt, bool(prompt))
        second = lookup.shown((*worst.place, 0), limit, 0, bool(prompt))
        return Pair(tasks.title(stage, task), round_number(stage) or 0, first, second)

    opened = tuple(pair(*two, OPEN_TEXT, PROMPT_TEXT) for two in ordered[:OPEN_PAIRS])
    folded: list[Pair] = []
    budget = _FOLDED_BYTES
    for two in ordered[OPEN_PAIRS:]:
        short = pair(*two, _FOLDED_TEXT, 0)
        budget -= sum(bytes_on_page(text) + 400 for text in (short.title, short.best.text, short.worst.text))
        if budget < 0:
            break
        folded.append(short)
    samples = tuple(
        Sample(tasks.title(at[0], at[1]), round_number(at[0]) or 0, lookup.shown(at, OPEN_TEXT, PROMPT_TEXT))
        for at in alone
    )
    unseen = len(ordered) - len(opened) - len(folded)
    return Pairs(opened, tuple(folded), samples, unseen, len(seen) - len(widest))


def _alone(edits: Sequence[SelfEditRow], but: Iterable[str], most: int) -> list[Where]:
    """The first self-edits of rounds, one a task, on other tasks than these."""
    found: dict[str, Where] = {}
    skipped = set(but)
    for row in edits:
        if len(found) < most and row.task_id not in skipped and round_number(row.stage) is not None:
            found.setdefault(row.task_id, (row.stage, row.task_id, row.index, 0))
    return list(found.values())


def _spread(pair: tuple[Candidate, Candidate]) -> float:
    return pair[0].reward - pair[1].reward
