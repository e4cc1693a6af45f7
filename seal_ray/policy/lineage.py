"""Which policies a run has made: its heads by name, and what each of them went through."""

from __future__ import annotations

from collections.abc import Sequence

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import keeps_of
from seal_ray.policy import adapters
from seal_ray.record.journal import Journal
from seal_ray.record.rows import MERGE, LearntRow, PolicyRow, RetractedRow, SkillRow
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef

MAIN = "main"
"""The head that moves from round to round."""
Row = PolicyRow | LearntRow | RetractedRow


def sequence_head(sequence: int, way: str = MERGE, out: Sequence[int] = ()) -> str:
    """The head that learns the passages of this sequence, one after another, in this way; or that without some."""
    head = f"sequence {sequence}" if way == MERGE else f"sequence {sequence} by {way}"
    return f"{head} without {', '.join(map(str, out))}" if out else head


def keeps_apart(way: str) -> bool:
    """Whether a way leaves its lessons beside the policy: questions are then answered by what one passage taught."""
    return keeps_of(way) == "apart"


def lineage(journal: Journal) -> dict[str, list[Row]]:
    """The policies of every head, the oldest first; each sequence begins with the last one of the rounds."""
    rounds: list[Row] = sorted(journal.read(PolicyRow), key=lambda row: row.version)
    found = {MAIN: rounds} if rounds else {}
    for row in sorted(journal.read(LearntRow), key=lambda row: (row.sequence, row.step)):
        found.setdefault(sequence_head(row.sequence, row.way), list(rounds)).append(row)
    for without in sorted(journal.read(RetractedRow), key=lambda row: row.version):
        whole = found.get(sequence_head(without.sequence, without.way), rounds)
        found[head_of(without)] = [*whole, without]
    return found


def head_of(row: Row) -> str:
    """The head that a policy is of."""
    if isinstance(row, PolicyRow):
        return MAIN
    return sequence_head(row.sequence, row.way, row.out if isinstance(row, RetractedRow) else ())


def adapter_of(store: Store, row: Row | SkillRow) -> Adapter:
    """The adapter of a policy on record."""
    if row.adapter:
        return adapters.get(store, AdapterRef(row.adapter))
    return adapters.get_numbered(store, row.version)


def folder_of(row: Row | SkillRow) -> str:
    """Where in the run's directory that adapter lies."""
    return adapters.folder_of(AdapterRef(row.adapter)) if row.adapter else adapters.numbered_folder(row.version)
