"""The run's record in Parquet: what was planned and what resulted. Continuing a run reads it.

A journal is a folder per table of immutable segments, and a manifest that says which of them count. Rows are buffered
for a moment and written behind the driver's back, so a kill at any time costs at most that moment's work, which the
next process does again and, outcomes being functions of their content, gets the same. Rows are identified by their
table's key; a row written twice counts once, and the first stands.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import pyarrow as pa

from seal_ray.record import manifest as manifests
from seal_ray.record.lease import Lost
from seal_ray.record.manifest import FOLDER, Manifest, damage, segment_name
from seal_ray.record.rows import TABLES, Row
from seal_ray.record.schema import check_stamp
from seal_ray.record.segments import Damaged, Segment, arrow, checksum, decode, encode, metadata_of, once
from seal_ray.record.storage import Store
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.7
MERGE = 16
"""How many segments of one level become one of the next: twenty thousand flushes leave no more than sixty."""

Rows = dict[str, list[dict[str, Any]]]
R = TypeVar("R", bound=Row)


class Journal:
    """One run's tables, in one directory. Any number of processes read; the last to begin writing is the one that may.

    Whoever appends must hold the directory (`Store.lock`). Given the run's name, every segment is written under it, and
    one of another run is refused.
    """

    def __init__(self, store: Store, run: str | None = None) -> None:
        self._store, self._run = store, run
        self._writer = uuid.uuid4().hex
        self._mine: Manifest | None = None
        self._written = 0
        self._rows: Rows = {name: [] for name in TABLES}
        self._leaving: Rows = {}
        self._timer: threading.Timer | None = None
        self._trouble: BaseException | None = None
        self._state = threading.Lock()  # held for moments: rows, timer, trouble, and which manifest is the last
        self._writing = threading.Lock()  # held for a whole flush
        self._unmergeable: set[str] = set()
        self._lost: Lost | None = None
        self._unsure = False  # whether the last commit was made
        self._told_of_saved: list[Callable[[Rows], None]] = []
        manifests.latest(store)  # what cannot be read at all is said at once

    def begin(self) -> None:
        """Take over from whoever wrote before, and put in order what kills have left; what is damaged is said now."""
        with self._writing:
            mine = self._take_over()
            for name in mine.tables:
                self.table(name)
            self._store.delete_temporary(FOLDER)
            foreign = manifests.tidy(self._store, mine)
        if foreign:
            logger.warning("%s: not the journal's, and not read: %s", self._store.url, ", ".join(foreign))

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Record a row; it is on disk within a second. Raises what kept earlier rows from getting there."""
        with self._state:
            self._rows[table].append(row)
            trouble, self._trouble = self._trouble, None
            if self._timer is None and trouble is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush_behind)  # the process's end waits for it
                self._timer.start()
        if trouble:
            raise trouble

    def record(self, row: Row) -> None:
        """Append a typed row to its table."""
        self.append(row.TABLE, row.as_dict())

    def on(self, event: object) -> None:
        """Record an event that is a row, as an observer of the run; some want all that was before them on disk."""
        if isinstance(event, Row):
            self.record(event)
        if getattr(event, "SAVED_AT_ONCE", False):
            self.flush()

    def close(self) -> None:
        self.flush()

    def tell_of_saved(self, told: Callable[[Rows], None]) -> None:
        """Have this told, from now on, of the rows that are on disk, once each and by table; it must return at once."""
        self._told_of_saved.append(told)

    def flush(self) -> None:
        """Put everything recorded so far on disk."""
        with self._writing:
            with self._state:
                if self._timer:
                    self._timer.cancel()
                self._timer = self._trouble = None
                if not any(self._rows.values()):
                    return
                self._leaving, self._rows = self._rows, {name: [] for name in TABLES}
            leaving = self._leaving
            try:
                errors = self._write_all(leaving)
            except BaseException:
                with self._state:
                    self._rows = {name: self._leaving[name] + rows for name, rows in self._rows.items()}
                raise
            finally:
                with self._state:
                    self._leaving = {}
            for told in self._told_of_saved:
                told(leaving)
        if errors:  # of single rows; all others are on disk
            raise errors[0]

    def table(self, name: str) -> pa.Table:
        """A table as recorded so far, one row a key, in the order first written."""
        while True:
            with self._state:
                mine, waiting = self._mine, [*self._leaving.get(name, ()), *self._rows[name]]
            found = mine or manifests.latest(self._store)
            try:
                parts = self._read_all(name, found.tables.get(name, ()))
            except FileNotFoundError as error:
                if (self._mine or manifests.latest(self._store)).number == found.number:
                    raise manifests.missing(self._store, f"{FOLDER}/{name}/{error}") from None
                continue  # merged meanwhile
            return once(pa.concat_tables([*parts, arrow(waiting, TABLES[name])[0]]))

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        for batch in self.table(name).to_batches(max_chunksize=1000):
            yield from batch.to_pylist()

    def read(self, kind: type[R]) -> Iterator[R]:
        """The rows of a kind's table, typed."""
        return kind.each(self.table(kind.TABLE))

    def _flush_behind(self) -> None:
        """What the timer does: an error waits for the next append or flush."""
        try:
            self.flush()
        except BaseException as error:
            with self._state:
                self._trouble = error

    def _take_over(self) -> Manifest:
        """The manifest to add to: this writer's last, or the first after whoever wrote before."""
        if self._lost:
            raise self._lost
        if self._unsure and (found := manifests.latest(self._store)).writer == self._writer:
            self._mine = found  # a commit that was cut short had been made
        while self._mine is None:
            try:
                self._commit(manifests.latest(self._store).taken_over(self._writer))
            except Lost:  # whoever wrote before was still at it, and now knows
                self._lost = None
        if any(not each.sha256 for found in self._mine.tables.values() for each in found):
            self._replace_first_version(self._mine)
        return self._mine

    def _replace_first_version(self, mine: Manifest) -> None:
        """Segments without checksums, as many as there were seconds, become one with a checksum for each table."""
        tables = {}
        for name, found in mine.tables.items():
            whole = once(pa.concat_tables(self._read_all(name, found)))
            tables[name] = (self._write(name, whole, mine.token, place=segment_name(0, 0), level=2),)
        self._commit(mine.with_tables(tables))
        self._delete((name, each) for name, found in mine.tables.items() for each in found)

    def _write_all(self, rows: Rows) -> list[Exception]:
        """Rows to segments, segments into the manifest; returns the errors of rows that cannot be recorded."""
        mine = self._take_over()
        errors: list[Exception] = []
        merged: list[tuple[str, Segment]] = []
        tables = dict(mine.tables)
        for name, new in rows.items():
            if new:
                table, wrong = arrow(new, TABLES[name])
                errors += wrong
                fresh = self._write(name, table, mine.token)
                tables[name] = self._merge(name, (*tables.get(name, ()), fresh), mine.token, merged)
        self._commit(mine.with_tables(tables), with_leaving=True)
        self._delete(merged)
        return errors

    def _merge(
        self, name: str, segments: tuple[Segment, ...], token: int, merged: list[tuple[str, Segment]]
    ) -> tuple[Segment, ...]:
        """Merge, as digits carry: sixteen neighbours of a level become one of the next, where they were."""
        while name not in self._unmergeable:
            last = segments[-MERGE:]
            if len(last) < MERGE or len({each.level for each in last}) > 1:
                break
            try:
                # One after another: at the process's end there are no threads to be had.
                whole = once(pa.concat_tables([self._read(name, each) for each in last]))
            except (Damaged, FileNotFoundError) as error:  # what is new is recorded all the same
                logger.warning("%s: segments are not merged: %s", self._store.url, error)
                self._unmergeable.add(name)
                break
            one = self._write(name, whole, token, place=last[0].place, level=last[0].level + 1)
            segments = (*segments[:-MERGE], one)
            merged += [(name, each) for each in last]
        return segments

    def _write(self, name: str, rows: pa.Table, token: int, place: str = "", level: int = 0) -> Segment:
        self._written += 1
        file = segment_name(token, self._written)
        data = encode(rows, place or file, self._run)
        self._store.create(f"{FOLDER}/{name}/{file}", data)
        return Segment(file, len(rows), len(data), checksum(data), level, place or file)

    def _commit(self, manifest: Manifest, with_leaving: bool = False) -> None:
        self._unsure = True
        try:
            manifests.commit(self._store, manifest)
        except Lost as lost:
            self._lost = lost
            raise
        with self._state:
            self._mine = manifest
            if with_leaving:  # for readers of this journal, rows move to the manifest in one step
                self._leaving = {name: [] for name in self._leaving}
        self._unsure = False

    def _delete(self, segments: Iterable[tuple[str, Segment]]) -> None:
        """Delete files that no manifest names any more; the next writer deletes any that stay."""
        for name, each in segments:
            with suppress(UserError):
                self._store.delete(f"{FOLDER}/{name}/{each.name}")

    def _read_all(self, name: str, segments: tuple[Segment, ...]) -> list[pa.Table]:
        if len(segments) < 2:
            return [self._read(name, each) for each in segments]
        with ThreadPoolExecutor(min(16, len(segments))) as pool:
            return list(pool.map(lambda each: self._read(name, each), segments))

    def _read(self, name: str, segment: Segment) -> pa.Table:
        path = f"{FOLDER}/{name}/{segment.name}"
        try:
            data = self._store.read(path)
            table = decode(data, TABLES[name], segment)
        except FileNotFoundError:
            raise FileNotFoundError(segment.name) from None
        except ValueError as error:
            raise damage(self._store, path, str(error)) from None
        check_stamp(metadata_of(data), self._run, f"{self._store.url}/{path}")
        return table
