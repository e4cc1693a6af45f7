"""Every adapter that a run holds, under a name that a person can type: policies, and what one passage alone taught."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Literal

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Keeps, keeps_of
from seal_ray.domains.registry import learns
from seal_ray.policy import adapters
from seal_ray.policy.lineage import MAIN, Row, adapter_of, folder_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, PolicyRow, RetractedRow
from seal_ray.record.storage import Store
from seal_ray.rundir.tuned import config_of_run
from seal_ray.types import AdapterRef, UserError

BASE_NAME = "base"
Kind = Literal["round", "lesson", "policy", "retracted"]


@dataclass(frozen=True)
class Held:
    """An adapter of a run, and where it comes from."""

    name: str
    kind: Kind
    row: Row
    parents: tuple[str, ...]
    """The names of what it was trained on top of, or put together from; nothing where that is not on record."""
    alone: str = ""
    """The hash of what one passage alone taught; empty for a policy."""

    @property
    def folder(self) -> str:
        """Where in the run's directory it lies."""
        return adapters.folder_of(AdapterRef(self.alone)) if self.alone else folder_of(self.row)

    def load(self, store: Store) -> Adapter:
        """The adapter itself."""
        return adapters.get(store, AdapterRef(self.alone)) if self.alone else adapter_of(store, self.row)


def lesson_name(way: str, sequence: int, step: int) -> str:
    """What a passage alone taught is called."""
    return f"{way}/{sequence}/lesson-{step}"


def catalogue_of(directory: str) -> list[Held]:
    """The adapters of the run in a directory; none where that has not made any yet."""
    config = config_of_run(directory)
    return catalogue(Journal(Store(directory)), afresh=learns(config))


def catalogue(journal: Journal, afresh: bool = False) -> list[Held]:
    """The adapters of a run in the order in which they were made; `afresh` where each of its rounds began at the base.

    A policy that a passage left as it was, as in a library, is not named again.
    """
    rounds = sorted(journal.read(PolicyRow), key=lambda row: row.version)
    found = [Held(f"{MAIN}/{row.version}", "round", row, (_parent(row, rounds, afresh),)) for row in rounds]
    start = found[-1] if found else None
    sequences: dict[tuple[str, int], list[LearntRow]] = defaultdict(list)
    for row in journal.read(LearntRow):
        sequences[row.way, row.sequence].append(row)
    retracted = sorted(journal.read(RetractedRow), key=lambda row: row.version)
    for (way, sequence), rows in sequences.items():
        mine = list(_of_sequence(start, sorted(rows, key=lambda row: row.step)))
        whole = [each.name for each in mine if each.kind == "policy"][-1:]
        for without in retracted:
            if whole and without.rank and (without.way, without.sequence) == (way, sequence):
                name = f"{way}/{sequence}/without-{'-'.join(map(str, without.out))}"
                mine.append(Held(name, "retracted", without, tuple(whole)))
        found += mine
    return found


def find(directory: str, held: Sequence[Held], name: str) -> Held:
    """The adapter of that name, or of the only one that begins so."""
    some = [each for each in held if each.name.startswith(name)]
    exact = [each for each in some if each.name == name]
    if len(exact or some) == 1:
        return (exact or some)[0]
    if not some:
        where = f"`seal-ray adapters list {quote(directory)}` names all"
        raise UserError(f"{directory}: no adapter's name begins with {name!r}; {where}")
    raise UserError(f"{directory}: {len(some)} adapters' names begin with {name!r}, such as {some[0].name}; give more")


def contents(held: Sequence[Held], one: Held) -> set[str]:
    """The rounds and lessons, by name, whose changes are in an adapter.

    Where a way mixes lessons, all that came so far count as in it, for none can be told from the others.
    """
    known, found = {each.name: each for each in held}, set[str]()
    within = {one.name: one}
    for each in (ahead := [one]):  # which grows meanwhile: each comes after what was put together from it
        row = each.row
        if each.kind in ("round", "lesson"):
            found.add(each.name)
        if isinstance(row, LearntRow) and _keeps(row.way) not in ("apart", "stacked"):
            steps = range(1, row.step + 1)
            found |= {name for step in steps if (name := lesson_name(row.way, row.sequence, step)) in known}
            found |= {other.name for other in held if other.kind == "round" and each.kind == "policy"}
        if each.kind != "lesson":
            more = {name: known[name] for name in each.parents if name in known and name not in within}
            within |= more
            ahead += more.values()
    if isinstance(one.row, RetractedRow):
        found -= {lesson_name(one.row.way, one.row.sequence, step) for step in one.row.out}
    return found


def _parent(row: PolicyRow, rounds: Sequence[PolicyRow], afresh: bool) -> str:
    """What it was trained on top of; version 0 is the base where there was no warm start."""
    trained = row.parent in {each.version for each in rounds}
    return f"{MAIN}/{row.parent}" if trained and not afresh else BASE_NAME


def _of_sequence(start: Held | None, rows: Sequence[LearntRow]) -> Iterator[Held]:
    begin = start.name if start else BASE_NAME
    last, key = begin, start.row.adapter if start else ""
    for row in rows:
        lesson = lesson_name(row.way, row.sequence, row.step)
        keeps = _keeps(row.way)
        if row.learned:
            below = {"apart": (begin,), "stacked": (last,)}.get(keeps or "", ())
            yield Held(lesson, "lesson", row, below, row.learned)
        if row.rank and (row.adapter != key or not row.adapter):
            name = f"{row.way}/{row.sequence}/after-{row.step}"
            parents = (last, lesson) if keeps == "stacked" else (lesson,)
            yield Held(name, "policy", row, parents if row.learned else ())
            last, key = name, row.adapter


def _keeps(way: str) -> Keeps | None:
    """Where a way keeps its lessons; None where it is one's own and not at hand."""
    try:
        return keeps_of(way)
    except UserError:
        return None
