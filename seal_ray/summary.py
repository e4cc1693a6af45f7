"""What a run came to: held-out accuracy per arm, with intervals, from its journal alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from seal_ray.record.journal import Journal
from seal_ray.types import derive_seed

UNTRAINED = "untrained self-edits"
"""The arm of the policy before its first round."""

CONTINUAL = "continual"
"""The stage in which passages arrive one after another."""

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over tasks with its 95 % bootstrap interval."""

    accuracy: float
    low: float
    high: float
    n: int
    """Held-out tasks, each with the mean of its trials."""
    synthetic: int = 0
    """Of those, how many are asked questions that a model wrote."""


def summarize(*journals: Journal) -> dict[str, Interval]:
    """Per arm of the evaluation, in the order they were begun; the tasks of several runs are taken together."""
    rewards: dict[str, list[float]] = defaultdict(list)
    with_written: dict[str, int] = defaultdict(int)
    for journal in journals:
        written = synthetic(journal)
        for arm, of_task in task_rewards(journal).items():
            rewards[arm] += of_task.values()
            with_written[arm] += len(written & of_task.keys())
    return {arm: replace(interval(found), synthetic=with_written[arm]) for arm, found in rewards.items()}


def synthetic(journal: Journal) -> set[str]:
    """The tasks whose questions a model wrote."""
    return {row["task_id"] for row in journal.rows("questions")}


def task_rewards(journal: Journal) -> dict[str, dict[str, float]]:
    """Mean reward per arm and held-out task, over the trials that have ended."""
    reward = {row["key"]: row["reward"] for row in journal.rows("outcomes")}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in journal.rows("planned"):
        if row["stage"] == "evaluation" and row["trial"] in reward:
            found[row["arm"]][row["task_id"]].append(reward[row["trial"]])
    return {arm: {task: float(np.mean(values)) for task, values in tasks.items()} for arm, tasks in found.items()}


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval, resampling tasks, since the questions of one task go together."""
    data = np.asarray(sorted(values))
    rng = np.random.default_rng(derive_seed("bootstrap", len(data)))
    means = rng.choice(data, (_RESAMPLES, len(data))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(data.mean()), float(low), float(high), len(data))


def continual(journal: Journal) -> list[list[float]]:
    """Mean over sequences: row k is after k passages were learnt, column j the accuracy on passage j; [] without any.

    The first k columns of a row were learnt by then, the others are yet to come.
    """
    reward = {row["key"]: row["reward"] for row in journal.rows("outcomes")}
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in journal.rows("planned"):
        if row["stage"] == CONTINUAL and row["trial"] in reward:
            found[int(row["arm"].rpartition(" ")[2]), row["index"]].append(reward[row["trial"]])
    if not found:
        return []
    size = max(column for _, column in found) + 1
    rows = [[found[step, column] for column in range(size)] for step in range(size + 1)]
    return [[float(np.mean(values)) for values in row] for row in rows if all(row)]


def print_continual(table: Sequence[Sequence[float]]) -> None:
    """Row by row, what was learnt before the bar and what is yet to come behind it."""
    print("accuracy on each passage (columns) after so many were learnt (rows), before the bar those learnt by then:")
    for step, row in enumerate(table):
        cells = [f"{value:6.1%}" for value in row]
        print(f"{step:3}  {' '.join(cells[:step])} | {' '.join(cells[step:])}")
    if len(table) > 1:
        just = float(np.mean([row[step - 1] for step, row in enumerate(table) if step]))
        print(f"just learnt {just:.1%}, the first passage at the end {table[-1][0]:.1%}, before any {table[0][0]:.1%}")


def as_json(summary: dict[str, Interval]) -> dict[str, Any]:
    return {arm: {k: round(v, 4) for k, v in asdict(measured).items()} for arm, measured in summary.items()}


def counted(measured: Interval) -> str:
    """Over how many tasks, and whether a model wrote their questions."""
    return f"{measured.n}, {measured.synthetic} with synthetic questions" if measured.synthetic else str(measured.n)


def print_table(summary: dict[str, Interval]) -> None:
    """The arms on standard output, as a table a person can read and a log can hold."""
    from rich.console import Console
    from rich.table import Table

    table = Table("held-out accuracy", "mean", "95 % interval", "tasks")
    for arm, m in summary.items():
        table.add_row(arm, f"{m.accuracy:.1%}", f"{m.low:.1%} – {m.high:.1%}", counted(m))
    Console().print(table)
