"""Which segments make up a journal: numbered manifests, of which the highest counts.

A manifest is made only where there is none of its number, so of two writers one is told that it is not alone. Whoever
begins to write takes over with the next number, which is its token: its segments' names begin with it, so that no two
writers share one. The manifest of a takeover stays: it has exactly the number that a writer before would make next,
however long it was stopped, so that nothing it still writes is ever part of the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from shlex import quote

from seal_ray.record.lease import Lost
from seal_ray.record.rows import TABLES
from seal_ray.record.segments import Damaged, Segment, checksum
from seal_ray.record.storage import Store

FOLDER = "journal"
_MANIFEST = re.compile(rf"{FOLDER}/manifest-(\d+)\.json")
SEGMENT = re.compile(rf"{FOLDER}/({'|'.join(TABLES)})/((\d{{6,}})-\d{{6,}}\.parquet)")
_FIRST_VERSION = re.compile(rf"{FOLDER}/({'|'.join(TABLES)})/(\d+)\.parquet")
_TAKEOVERS = 100
_UNLESS_COPIED = "of a copy that is still being made, wait for the rest"
"""A repair lets go of what is missing, also where it would have arrived a moment later."""


@dataclass(frozen=True)
class Manifest:
    """One state of a journal. `takeovers` are the numbers at which writers began, the last being this one's token."""

    number: int = 0
    writer: str = ""
    takeovers: tuple[int, ...] = ()
    tables: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)

    @property
    def token(self) -> int:
        return self.takeovers[-1] if self.takeovers else 0

    def taken_over(self, writer: str) -> Manifest:
        """This record as it is when another writer takes it over."""
        number = self.number + 1
        return replace(self, number=number, writer=writer, takeovers=(*self.takeovers, number)[-_TAKEOVERS:])

    def with_tables(self, tables: Mapping[str, tuple[Segment, ...]]) -> Manifest:
        return replace(self, number=self.number + 1, tables=dict(tables))


def latest(store: Store) -> Manifest:
    """The journal as it is now. One of the first version has none: its segments are all there are, in their order."""
    damaged = -1
    while True:
        files = store.walk(FOLDER)
        numbers = sorted(numbers_in(files))
        if not numbers:
            return _without(store, files)
        try:
            return read(store, numbers[-1])
        except FileNotFoundError:  # two more were made meanwhile
            continue
        except ValueError as error:
            if damaged == numbers[-1]:
                raise damage(store, manifest_name(numbers[-1]), str(error)) from None
            damaged = numbers[-1]  # where files are not made in one step, it may have been half-written


def read(store: Store, number: int) -> Manifest:
    """One manifest; `ValueError` says what is wrong with it."""
    try:
        text, _, sum_ = store.read(manifest_name(number)).decode().rstrip("\n").rpartition("\n")
        if checksum(text.encode()) != sum_:
            raise ValueError("its checksum differs")
        tree = json.loads(text)
    except UnicodeDecodeError:
        raise ValueError("its checksum differs") from None
    tables = {name: tuple(Segment(**each) for each in found) for name, found in tree["tables"].items()}
    return Manifest(tree["number"], tree["writer"], tuple(tree["takeovers"]), tables)


def commit(store: Store, manifest: Manifest) -> None:
    """Make this the state of the journal; `Lost` when another writer made one of this number."""
    tables = {name: [vars(each) for each in found] for name, found in manifest.tables.items()}
    text = json.dumps({**vars(manifest), "tables": tables})
    if not store.create(manifest_name(manifest.number), f"{text}\n{checksum(text.encode())}\n".encode()):
        raise Lost(f"{store.url}: another process has taken this run over; this one writes no more")
    if manifest.number - 2 not in (*manifest.takeovers, -1, 0):
        store.delete(manifest_name(manifest.number - 2))


def tidy(store: Store, manifest: Manifest) -> list[str]:
    """Delete what kills have left behind; returns the files that are not ours, which nobody reads."""
    files = store.walk(FOLDER)
    named = {f"{FOLDER}/{table}/{each.name}" for table, found in manifest.tables.items() for each in found}
    old = {manifest_name(n) for n in numbers_in(files) if n < manifest.number - 1 and n not in manifest.takeovers}
    foreign = []
    for name in sorted(files.keys() - named):
        left = SEGMENT.fullmatch(name)
        if name in old or (left and int(left[3]) < manifest.token):
            store.delete(name)
        elif not _MANIFEST.fullmatch(name):
            foreign.append(name)
    return foreign


def damage(store: Store, name: str, what: str) -> Damaged:
    return Damaged(
        f"{store.path(name)} is damaged ({what}): `seal-ray repair {quote(store.url)}` sets it aside, and the run does "
        "again what it held"
    )


def missing(store: Store, name: str, what: str = "it") -> Damaged:
    return damage(store, name, f"{what} is missing; {_UNLESS_COPIED}")


def manifest_name(number: int) -> str:
    return f"{FOLDER}/manifest-{number:06d}.json"


def segment_name(token: int, count: int) -> str:
    return f"{token:06d}-{count:06d}.parquet"


def numbers_in(files: Mapping[str, int]) -> list[int]:
    """The numbers of the manifests among these files."""
    return [int(found[1]) for name in files if (found := _MANIFEST.fullmatch(name))]


def _without(store: Store, files: Mapping[str, int]) -> Manifest:
    if any(SEGMENT.fullmatch(name) for name in files):
        raise damage(store, FOLDER, f"there are segments, and no manifest says which count; {_UNLESS_COPIED}")
    found = sorted((int(match[2]), match[1], name) for name in files if (match := _FIRST_VERSION.fullmatch(name)))
    tables: dict[str, tuple[Segment, ...]] = {}
    for _, table, name in found:
        tables[table] = (*tables.get(table, ()), Segment(name.rpartition("/")[2], 0, files[name], ""))
    return Manifest(tables=tables)
