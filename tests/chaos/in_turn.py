"""Runs in which passages arrive in turn: on record a stream is before a passage or after it, and never between."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from seal_ray.policy import adapters
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef, UserError

SETTINGS = [
    *("--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", "[]"),
    *("--continual.sequences", "1", "--continual.passages", "3", "--continual.ways", '["merge", "library"]'),
]
STEPS = 6
"""Passages that are learnt: three in each of two ways."""


def is_met_by(fault: str) -> bool:
    """Whether this fault is one of such a run."""
    return "lesson" in fault or fault.endswith("in turn")


def between(folder: Path) -> list[str]:
    """What is on record of a stream that is no state before a passage, or after one."""
    store, wrong = Store(str(folder)), []
    steps: dict[tuple[str, int], list[LearntRow]] = defaultdict(list)
    for row in Journal(store).read(LearntRow):
        steps[row.way, row.sequence].append(row)
    for (way, _), rows in steps.items():
        if [row.step for row in rows] != list(range(1, len(rows) + 1)):
            wrong.append(f"{way}: the steps on record are {[row.step for row in rows]}")
        for key in {key for row in rows for key in (row.adapter, row.learned) if key}:
            wrong += _not_whole(store, key)
    return wrong


def _not_whole(store: Store, key: str) -> list[str]:
    try:
        adapters.get(store, AdapterRef(key))
    except (UserError, OSError) as error:
        return [f"adapter {key} is on record, and not whole: {error}"]
    return []
