"""Which policies a run has made: its heads by name, and what each of them went through."""

from __future__ import annotations

from seal_ray.adapters.lora import Adapter
from seal_ray.policy import adapters
from seal_ray.record.journal import Journal
from seal_ray.record.rows import MERGE, LearntRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef

MAIN = "main"
"""The head that moves from round to round."""
Row = PolicyRow | LearntRow


def sequence_head(sequence: int, way: str = MERGE) -> str:
    """The head that learns the passages of this sequence, one after another, in this way."""
    return f"sequence {sequence}" if way == MERGE else f"sequence {sequence} by {way}"


def lineage(journal: Journal) -> dict[str, list[Row]]:
    """The policies of every head, the oldest first; each sequence begins with the last one of the rounds."""
    rounds: list[Row] = sorted(journal.read(PolicyRow), key=lambda row: row.version)
    found = {MAIN: rounds} if rounds else {}
    for row in sorted(journal.read(LearntRow), key=lambda row: (row.sequence, row.step)):
        found.setdefault(sequence_head(row.sequence, row.way), list(rounds)).append(row)
    return found


def adapter_of(store: Store, row: Row) -> Adapter:
    """The adapter of a policy on record."""
    if row.adapter:
        return adapters.get(store, AdapterRef(row.adapter))
    return adapters.get_numbered(store, row.version)


def folder_of(row: Row) -> str:
    """Where in the run's directory that adapter lies."""
    return adapters.folder_of(AdapterRef(row.adapter)) if row.adapter else adapters.numbered_folder(row.version)
