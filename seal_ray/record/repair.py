"""Sets aside what is damaged in a run's record, so that the run can be continued and does again what was lost."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from seal_ray.record import manifest as manifests
from seal_ray.record import schema
from seal_ray.record.journal import Journal
from seal_ray.record.manifest import FOLDER, SEGMENT, Manifest, manifest_name
from seal_ray.record.rows import TABLES
from seal_ray.record.segments import Segment, checksum, decode, encode, metadata_of, place_of
from seal_ray.record.storage import Store

ASIDE = "damaged"


def repair(store: Store) -> list[str]:
    """Check every manifest and segment, move what is damaged into `damaged/`, and say what that was.

    Nothing is deleted. For who holds the directory.
    """
    said: list[str] = []
    found = _manifest(store, said)
    tables = {}
    for table, segments in found.tables.items():
        tables[table] = tuple(each for each in segments if _whole(store, table, each, said))
    if said:
        manifests.commit(store, replace(found.taken_over("repair"), tables=tables))
    return said


def forget(store: Store, table: str, versions: Collection[int]) -> None:
    """Take the rows of policies that are lost out of a table, so that they are trained again."""
    found = manifests.latest(store)
    rows = Journal(store).table(table)
    kept = rows.filter([version not in versions for version in rows["version"].to_pylist()])
    taken = found.taken_over("repair")
    name = manifests.segment_name(taken.token, 1)
    manifests.commit(store, taken)
    run = schema.run_of(metadata_of(store.read(f"{FOLDER}/{table}/{found.tables[table][0].name}")))
    data = encode(kept, name, run)
    store.create(f"{FOLDER}/{table}/{name}", data)
    one = Segment(name, len(kept), len(data), checksum(data), 1, name)
    manifests.commit(store, taken.with_tables({**taken.tables, table: (one,)}))


def set_aside(store: Store, name: str) -> str:
    """Move a file into `damaged/`, under a name that is free; returns that name."""
    taken = store.walk(ASIDE)
    target = next(t for n in range(10_000) if (t := f"{ASIDE}/{name}" + (f".{n}" if n else "")) not in taken)
    store.move(name, target)
    return target


def _manifest(store: Store, said: list[str]) -> Manifest:
    """The last whole manifest; where a later one is damaged, with every segment that is there."""
    files = store.walk(FOLDER)
    numbers = sorted(manifests.numbers_in(files), reverse=True)
    found: Manifest | None = None
    for number in numbers:
        try:
            found = manifests.read(store, number)
            break
        except ValueError as error:
            said.append(f"{manifest_name(number)}: {error}; it is now {set_aside(store, manifest_name(number))}")
    segments = [match for name in files if (match := SEGMENT.fullmatch(name))]
    if found is None and not numbers and not segments:
        return manifests.latest(store)  # of the first version, or empty
    if found is None or said:
        found = _from_segments(store, found or Manifest(), [(match[1], match[2]) for match in segments])
        said.append(f"{FOLDER}: made a manifest of the segments that are there")
    return replace(found, number=max([found.number, *numbers]))


def _from_segments(store: Store, base: Manifest, names: list[tuple[str, str]]) -> Manifest:
    """Segments in the order in which their first rows were written; a merged one before those it was merged from."""
    tables: dict[str, list[Segment]] = {table: list(found) for table, found in base.tables.items()}
    for table, name in names:
        if name not in {each.name for each in tables.setdefault(table, [])}:
            data = store.read(f"{FOLDER}/{table}/{name}")
            unknown = Segment(name, 0, len(data), "")
            try:
                rows = decode(data, TABLES[table], unknown)
            except ValueError:
                tables[table].append(unknown)  # set aside below, with what is wrong
                continue
            tables[table].append(Segment(name, len(rows), len(data), checksum(data), 0, place_of(data) or name))
    ordered = {table: tuple(sorted(found, key=_age)) for table, found in tables.items()}
    return replace(base, tables=ordered)


def _age(segment: Segment) -> tuple[list[int], int]:
    return [int(number) for number in re.findall(r"\d+", segment.place)], -segment.rows


def _whole(store: Store, table: str, segment: Segment, said: list[str]) -> bool:
    name = f"{FOLDER}/{table}/{segment.name}"
    try:
        decode(store.read(name), TABLES[table], segment)
    except FileNotFoundError:
        said.append(f"{name}: it is missing, with {segment.rows} rows")
        return False
    except ValueError as error:
        said.append(f"{name}: {error}; it is now {set_aside(store, name)}")
        return False
    return True
