"""Small journals of outcomes, and what is asked of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow
from seal_ray.record.storage import Store
from seal_ray.types import Outcome

OUTCOME = Outcome("k1", ("a", "b"), (-1.5,), (1.0, 0.0), 0.5, None, 2.0, 0.1, 15, 300, 1.25, "trainer-1")


def journal_in(folder: Path | str) -> Journal:
    return Journal(Store(str(folder)))


def keys(journal: Journal, table: str = "outcomes") -> list[str]:
    return [row["key"] for row in journal.rows(table)]


def rewards(journal: Journal) -> list[tuple[str, float]]:
    return [(row["key"], row["reward"]) for row in journal.rows("outcomes")]


def add(journal: Journal, *found: str, reward: float = 0.5) -> None:
    for key in found:
        journal.record(OutcomeRow.of(replace(OUTCOME, key=key, reward=reward)))


def written(folder: Path | str, count: int) -> Journal:
    """A journal of so many outcomes, each flushed on its own: k0, k1, …"""
    journal = journal_in(folder)
    for number in range(count):
        add(journal, f"k{number}")
        journal.flush()
    return journal


def segments(folder: Path, table: str = "outcomes") -> list[Path]:
    return sorted((folder / "journal" / table).glob("*.parquet"))
