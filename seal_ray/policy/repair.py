"""Sets aside the policies of a run that cannot be loaded, so that they are trained again."""

from __future__ import annotations

from collections.abc import Sequence

from seal_ray.policy.lineage import Row, adapter_of, folder_of
from seal_ray.record.journal import Journal
from seal_ray.record.repair import ASIDE, forget, set_aside
from seal_ray.record.rows import LearntRow, PolicyRow
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store


def repair_policies(store: Store) -> list[str]:
    """Set aside each policy on record that cannot be loaded, and have it trained again; returns what that was."""
    said, moved = [], dict[str, list[str]]()  # policies may point to the same adapter
    journal = Journal(store)
    rows: tuple[Sequence[Row], ...] = (list(journal.read(PolicyRow)), [r for r in journal.read(LearntRow) if r.rank])
    for of_table in rows:
        lost = {row.version: row for row in of_table if _is_damaged(store, row)}
        for version, row in lost.items():
            if (where := folder_of(row)) not in moved:
                moved[where] = [set_aside(store, name) for name in store.walk(where)]
            said.append(f"policy {version}: {', '.join(moved[where]) or 'nothing of it'} is now in {ASIDE}/")
        if lost:
            forget(store, of_table[0].TABLE, lost.keys())
    return said


def _is_damaged(store: Store, row: Row) -> bool:
    try:
        adapter_of(store, row)
    except Damaged:
        return True
    return False
