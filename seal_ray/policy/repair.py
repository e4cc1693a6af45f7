"""Sets aside the policies of a run that cannot be loaded, so that they are trained again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain

from seal_ray.adapters.lora import Adapter
from seal_ray.policy import adapters
from seal_ray.policy.lineage import Row, adapter_of, folder_of
from seal_ray.record.journal import Journal
from seal_ray.record.repair import ASIDE, forget, set_aside
from seal_ray.record.rows import LearntRow, PolicyRow, RetractedRow, SkillRow
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef


def repair_policies(store: Store) -> list[str]:
    """Set aside each policy on record that cannot be loaded, and step of a skill; returns what is trained again."""
    journal = Journal(store)
    tables: tuple[Iterable[Row | SkillRow], ...] = tuple(
        map(journal.read, (PolicyRow, LearntRow, RetractedRow, SkillRow))
    )
    forgotten: dict[str, set[int]] = defaultdict(set)
    shared: dict[tuple[str, bool], list[int]] = defaultdict(list)  # policies may point to the same adapter
    for row in chain(*tables):
        for where in _damaged(store, row):
            forgotten[row.TABLE].add(row.version)
            shared[where, isinstance(row, SkillRow)].append(row.version)
    said = []
    for (where, of_skill), versions in shared.items():
        names = ", ".join(set_aside(store, name) for name in store.walk(where)) or "nothing of it"
        of = "step of the skill" if of_skill else "policy" if len(versions) == 1 else "policies"
        said.append(f"{of} {', '.join(map(str, versions))}: {names} is now in {ASIDE}/")
    for table, lost in forgotten.items():
        forget(store, table, lost)
    return said


def _damaged(store: Store, row: Row | SkillRow) -> list[str]:
    """The folders of its adapters that cannot be loaded: the policy's own, and what one passage alone was taught."""
    needed = {folder_of(row): partial(adapter_of, store, row)} if row.rank else {}
    if isinstance(row, LearntRow) and row.learned:
        alone = AdapterRef(row.learned)
        needed[adapters.folder_of(alone)] = partial(adapters.get, store, alone)
    return [where for where, load in needed.items() if not _loads(load)]


def _loads(load: Callable[[], Adapter]) -> bool:
    try:
        load()
    except Damaged:
        return False
    return True
