"""Self-edits as the page shows them: the text, what its trials were asked and answered, and what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc

from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.report.sanitize import prompt_text, shown
from seal_ray.report.tasks import Tasks

Where = tuple[str, str, int, int]
"""Stage, task, index and, of what is measured, the version of the policy: where a self-edit was tried."""
_QUESTIONS, _SEEDS, _PROBLEM = 48, 3, 200
_QUESTION, _GOLD, _ANSWER = 400, 200, 300


@dataclass(frozen=True)
class Asked:
    """One question of a trial."""

    question: str
    """Empty where the run's sources do not say it any more."""
    gold: str
    answers: tuple[tuple[str, float | None], ...]
    """What the first seeds answered, each with its verdict as a probability."""
    verdict: float
    """The mean over all seeds."""


@dataclass(frozen=True)
class Shown:
    """A self-edit as the page shows it."""

    index: int
    reward: float | None
    """The mean over seeds; None where it was not tried."""
    rewards: tuple[float, ...]
    asked: tuple[Asked, ...]
    problem: str
    """Why a trial of it failed, when one did."""
    text: str
    tokens: int
    kept: bool
    prompt: str
    """What the policy was given."""

    @property
    def verdicts(self) -> tuple[float, ...]:
        return tuple(each.verdict for each in self.asked)


def where(row: PlannedRow | SelfEditRow | KeptRow) -> Where:
    """Held-out tasks are the same for every version of the policy, those of a round are for one."""
    policy = row.policy if row.stage == "evaluation" and not isinstance(row, KeptRow) else 0
    return row.stage, row.task_id, row.index, policy


class Lookup:
    """The texts and trials of some self-edits: texts are many, so they are read for what is shown alone."""

    def __init__(
        self,
        wanted: Iterable[Where],
        edits: pa.Table,
        planned: Sequence[PlannedRow],
        outcomes: pa.Table,
        kept: Iterable[KeptRow],
        tasks: Tasks,
    ) -> None:
        places = set(wanted)
        ids = pa.array({task for _, task, _, _ in places}, pa.string())
        some = edits.filter(pc.is_in(edits["task_id"], ids))
        self._edits = {where(row): row for row in SelfEditRow.each(some) if where(row) in places}
        self._trials: dict[Where, list[str]] = defaultdict(list)
        for row in planned:
            if (place := where(row)) in places:
                self._trials[place].append(row.trial)
        keys = pa.array({key for found in self._trials.values() for key in found}, pa.string())
        found = outcomes.filter(pc.is_in(outcomes["key"], keys))
        self._outcomes = {row.key: row for row in OutcomeRow.each(found)}
        self._kept, self._tasks = {where(row) for row in kept} & places, tasks

    def shown(self, place: Where, limit: int, prompt_limit: int = 0, with_questions: bool = True) -> Shown:
        """A self-edit whose text is cut to `limit` characters, and its prompt likewise."""
        edit = self._edits.get(place)
        tried = [self._outcomes[key] for key in self._trials[place] if key in self._outcomes]
        rewards = tuple(trial.reward for trial in tried if trial.reward is not None)
        return Shown(
            index=place[2],
            reward=fmean(rewards) if rewards else None,
            rewards=rewards[:12],
            asked=self._asked(place, tried) if with_questions else (),
            problem=next((shown(trial.reason, _PROBLEM) for trial in tried if trial.reason), ""),
            text=shown(edit.completion if edit else "", limit),
            tokens=edit.tokens if edit else 0,
            kept=place in self._kept,
            prompt=shown(prompt_text(edit.prompt), prompt_limit) if edit and prompt_limit else "",
        )

    def _asked(self, place: Where, tried: Sequence[OutcomeRow]) -> tuple[Asked, ...]:
        judged = [trial for trial in tried if trial.verdicts]
        count = min((len(trial.verdicts) for trial in judged), default=0)
        known = self._tasks.asked(place[0], place[1], count) or [("", "")] * count
        return tuple(
            Asked(
                shown(prompt_text(known[i][0]), _QUESTION),
                shown(known[i][1], _GOLD),
                tuple((_answer(trial, i), trial.verdicts[i]) for trial in judged[:_SEEDS]),
                fmean(trial.verdicts[i] for trial in judged),
            )
            for i in range(min(count, _QUESTIONS))
        )


def _answer(trial: OutcomeRow, i: int) -> str:
    said = shown(trial.answers[i], _ANSWER) if i < len(trial.answers) else ""
    return (said.strip() or "(nothing)") + (" … cut off" if i < len(trial.cut) and trial.cut[i] else "")
