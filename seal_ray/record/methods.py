"""What each method of learning a text came to: what was answered, what it cost, and how varied its texts are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from seal_ray.plain import counted
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow, StudyRow
from seal_ray.record.summary import FEWEST, interval
from seal_ray.record.variety import variety

METHODS = "methods"
"""The stage in which methods are measured."""
TRIALS = f"{METHODS}: trials"
AGAINST = "passage"
"""The method whose figure the others' differences are told from."""


def arm_of(method: str, texts: int) -> str:
    """What the measurement of a method is called; 0 texts: one that has none written."""
    return f"{method}, {counted(texts, 'text')}" if texts else method


Arm = tuple[str, int]


@dataclass
class Learnt:
    """What a method with a number of texts came to on one task."""

    trials: list[OutcomeRow] = field(default_factory=list)
    texts: list[SelfEditRow] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        return fmean(row.reward or 0.0 for row in self.trials)


def learnt(journal: Journal) -> dict[Arm, list[tuple[str, Learnt]]]:
    """By method and number of texts, what is on record of each task."""
    # Of a method that came to be another since, what it came to last counts.
    studies = {(arm_of(row.method, row.texts), row.task_id): row for row in journal.read(StudyRow)}
    if not studies:
        return {}  # texts and answers of a run without methods are many, and none of them is read
    outcomes = {row.key: row for row in journal.read(OutcomeRow)}
    edits = {row.key: row for row in journal.read(SelfEditRow)}
    found: dict[Arm, dict[str, Learnt]] = defaultdict(dict)
    for row in studies.values():
        texts = [edits[key] for key in row.edits if key in edits]
        found[row.method, row.texts][row.task_id] = Learnt(texts=texts)
    for place in journal.read(PlannedRow):
        study = studies.get((place.arm, place.task_id))
        if place.stage == METHODS and place.trial in outcomes and study and study.recipe == place.recipe:
            found[study.method, study.texts][place.task_id].trials.append(outcomes[place.trial])
    whole = {arm: [(task, each) for task, each in tasks.items() if each.trials] for arm, tasks in found.items()}
    return {arm: tasks for arm, tasks in whole.items() if tasks}


def by_method(journals: Sequence[Journal]) -> list[dict[str, Any]]:
    """A row for each method and number of texts, over the tasks of all these runs; the fewest texts come first.

    Those of as many texts stand by their names, whatever was measured first.
    """
    pooled: dict[Arm, dict[tuple[int, str], Learnt]] = defaultdict(dict)
    for run, journal in enumerate(journals):
        for arm, tasks in learnt(journal).items():
            pooled[arm] |= {(run, task): each for task, each in tasks}
    plain = pooled.get((AGAINST, 0), {})
    arms = sorted(pooled, key=lambda arm: (arm[1], arm[0]))
    return [_row(arm, pooled[arm], plain) for arm in arms]


def _row(arm: Arm, tasks: dict[tuple[int, str], Learnt], plain: dict[tuple[int, str], Learnt]) -> dict[str, Any]:
    accuracies = {task: each.accuracy for task, each in tasks.items()}
    trials = [trial for each in tasks.values() for trial in each.trials]
    measured = interval(list(accuracies.values()))
    row: dict[str, Any] = {
        "method": arm[0],
        "texts": arm[1],
        "accuracy": measured.accuracy,
        "tasks": len(tasks),
        "failed": fmean(float(bool(trial.failure)) for trial in trials),
        "written": fmean(sum(text.tokens for text in each.texts) for each in tasks.values()),
        "trained": fmean(trial.tokens for trial in trials),
        "seconds": fmean(trial.seconds for trial in trials),
    }
    if len(tasks) >= FEWEST:
        row["interval"] = (measured.low, measured.high)
    both = [accuracies[task] - plain[task].accuracy for task in tasks if task in plain]
    if len(both) >= FEWEST and arm[0] != AGAINST:
        beside = interval(both)
        row["over passage"] = (beside.accuracy, beside.low, beside.high)
    if any(each.texts for each in tasks.values()):
        row |= variety([[text.completion for text in each.texts] for each in tasks.values()])
    return row


def print_methods(rows: Sequence[dict[str, Any]]) -> None:
    """The table on standard output."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from seal_ray.plain import visible

    names = ("method", "texts", "accuracy", "over passage", "tokens")
    table = Table(*(Column(n, no_wrap=True) for n in names), box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for row in rows:
        over = row.get("over passage")
        table.add_row(
            escape(visible(row["method"])),
            str(row["texts"] or "–"),
            _with_bounds(row["accuracy"], row.get("interval")),
            _with_bounds(over[0], over[1:], "+") if over else "–",
            f"{row['written']:.0f}, {row['trained']:.0f}",
        )
    Console().print(table)
    print("tokens: written of a task, trained on for it")
    most = max(row["tasks"] for row in rows)
    for row in rows:
        name = arm_of(row["method"], row["texts"])
        if row["tasks"] < most:
            print(visible(f"{name}: measured on {row['tasks']} of {most} tasks, so not to be held beside the others"))
        if row["failed"]:
            print(visible(f"{name}: {row['failed']:.1%} of its trials failed and count as 0"))


def _with_bounds(value: float, bounds: Sequence[float] | None, sign: str = "") -> str:
    said = f"{100 * value:{sign}.1f}"
    return f"{said} ({100 * bounds[0]:.0f}..{100 * bounds[1]:.0f})" if bounds else said
