"""The best and the worst self-edit of each task, with their texts, within what a page can hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc

from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.report.rounds import Candidate, Place, Round, by_task, place_of, round_number
from seal_ray.report.sanitize import bytes_on_page, prompt_text, shown

OPEN_PAIRS = 20
_OPEN_TEXT, _FOLDED_TEXT, _PROMPT_TEXT = 3000, 400, 2000
_FOLDED_BYTES = 2_500_000


@dataclass(frozen=True)
class Shown:
    """A self-edit as the page shows it."""

    index: int
    reward: float
    rewards: tuple[float, ...]
    verdicts: tuple[float, ...]
    """Per question, the mean over seeds."""
    problem: str
    """Why a trial of it failed, when one did."""
    text: str
    tokens: int
    kept: bool


@dataclass(frozen=True)
class Pair:
    """The best and the worst of one task's self-edits, in the round in which they lay furthest apart."""

    task_id: str
    round: int
    prompt: str
    best: Shown
    worst: Shown

    @property
    def spread(self) -> float:
        return self.best.reward - self.worst.reward


@dataclass(frozen=True)
class Pairs:
    open: tuple[Pair, ...]
    folded: tuple[Pair, ...]
    unseen: int
    """Tasks beyond those shown."""
    level: int
    """Tasks whose self-edits all earned the same."""


def pairs(found: Iterable[Round], edits: pa.Table, planned: Sequence[PlannedRow], outcomes: pa.Table) -> Pairs:
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
    lookup = _Lookup([c for pair in ordered for c in pair], edits, planned, outcomes)
    opened = tuple(lookup.pair(*pair, _OPEN_TEXT, _PROMPT_TEXT) for pair in ordered[:OPEN_PAIRS])
    folded: list[Pair] = []
    budget = _FOLDED_BYTES
    for two in ordered[OPEN_PAIRS:]:
        pair = lookup.pair(*two, _FOLDED_TEXT, 0)
        budget -= sum(bytes_on_page(text) + 400 for text in (pair.task_id, pair.best.text, pair.worst.text))
        if budget < 0:
            break
        folded.append(pair)
    return Pairs(opened, tuple(folded), len(ordered) - len(opened) - len(folded), len(seen) - len(widest))


class _Lookup:
    """The texts and verdicts of some self-edits."""

    def __init__(
        self, wanted: Sequence[Candidate], edits: pa.Table, planned: Sequence[PlannedRow], outcomes: pa.Table
    ) -> None:
        places = {c.place for c in wanted}
        tasks = pa.array({c.task_id for c in wanted}, pa.string())
        some = edits.filter(pc.is_in(edits["task_id"], tasks))
        self._edits = {place_of(row): row for row in SelfEditRow.each(some) if place_of(row) in places}
        self._trials: dict[Place, list[str]] = defaultdict(list)
        for row in planned:
            if (place := place_of(row)) in places:
                self._trials[place].append(row.trial)
        trials = pa.array({key for keys in self._trials.values() for key in keys}, pa.string())
        found = outcomes.filter(pc.is_in(outcomes["key"], trials))
        self._outcomes = {row.key: row for row in OutcomeRow.each(found)}

    def pair(self, best: Candidate, worst: Candidate, limit: int, prompt_limit: int) -> Pair:
        number = round_number(best.place[0]) or 0
        edit = self._edits.get(best.place)
        return Pair(
            shown(best.task_id, 120),
            number,
            shown(prompt_text(edit.prompt), prompt_limit) if edit and prompt_limit else "",
            self._shown(best, limit),
            self._shown(worst, limit),
        )

    def _shown(self, candidate: Candidate, limit: int) -> Shown:
        edit = self._edits.get(candidate.place)
        tried = [self._outcomes[key] for key in self._trials[candidate.place] if key in self._outcomes]
        seeds = [trial.verdicts for trial in tried if trial.verdicts]
        questions = min((len(found) for found in seeds), default=0)
        return Shown(
            candidate.place[2],
            candidate.reward,
            candidate.rewards[:12],
            tuple(fmean(found[i] for found in seeds) for i in range(min(questions, 48))),
            next((shown(trial.reason, 200) for trial in tried if trial.reason), ""),
            shown(edit.completion if edit else "", limit),
            edit.tokens if edit else 0,
            candidate.kept,
        )


def _spread(pair: tuple[Candidate, Candidate]) -> float:
    return pair[0].reward - pair[1].reward
