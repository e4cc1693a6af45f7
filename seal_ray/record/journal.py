"""The run's record in Parquet: what was planned, what came of it. Resume reads it.

A journal is a folder per table of immutable segments. Rows are buffered for a moment and written as one
whole segment, so a kill at any time costs at most that moment's work, which the next process does again and,
outcomes being functions of their content, gets the same. Rows are identified by their table's key; a row
written twice counts once.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seal_ray import schema
from seal_ray.record.storage import Store
from seal_ray.types import Failure, Outcome, Prompt, SelfEdit, content_key


def _schema(strings: str = "", integers: str = "", reals: str = "", **others: pa.DataType) -> pa.Schema:
    """A schema from names by type; every table has a string `key`."""
    fields = [(name, pa.string()) for name in ("key", *strings.split())]
    fields += [(name, pa.int64()) for name in integers.split()]
    fields += [(name, pa.float64()) for name in reals.split()]
    return pa.schema([*fields, *others.items()])


_TEXTS, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.float64())

TABLES: dict[str, pa.Schema] = {
    "self_edits": _schema(
        "stage task_id prompt completion refused worker", "index policy seed tokens", finished=pa.bool_()
    ),
    "questions": _schema("task_id prompt completion worker"),
    "planned": _schema("stage arm task_id recipe trial", "index replicate policy seed"),
    "outcomes": _schema(
        "failure reason worker",
        "steps tokens",
        "reward first_loss last_loss seconds",
        answers=_TEXTS,
        verdicts=_NUMBERS,
        log_likelihoods=_NUMBERS,
    ),
    "policies": _schema("", "version parent kept steps rank", "first_loss last_loss compression_error seconds"),
    "continual": _schema("task_id", "version sequence step rank"),
    "kept": _schema("stage task_id self_edit", "index", "reward"),
    "spans": _schema("stage what worker", "", "start end"),
}

_FLUSH_ROWS, _FLUSH_SECONDS, _COMPACT_SEGMENTS = 2000, 1.0, 50


class Journal:
    """One run's tables, in one directory. One process writes at a time.

    Given the run's name, every segment is written under it, and one of another run is refused.
    """

    def __init__(self, store: Store, run: str | None = None) -> None:
        self._store, self._run = store, run
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self._next = {name: _next_number(store.list(f"journal/{name}")) for name in TABLES}
        self._flushed = time.monotonic()
        self._pause = _FLUSH_SECONDS
        self._lock = threading.RLock()

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Record a row; it is on disk within about a second, or at the next `flush`."""
        with self._lock:
            self._rows[table].append(row)
            if len(self._rows[table]) >= _FLUSH_ROWS or time.monotonic() - self._flushed > self._pause:
                self.flush()

    def flush(self) -> None:
        """Put everything recorded so far on disk. Any thread may: what ends a run does not wait for the driver's."""
        with self._lock:
            start = time.monotonic()
            for table, rows in self._rows.items():
                if rows:
                    self._write(table, pa.Table.from_pylist(rows, TABLES[table]))
                    rows.clear()
            self._flushed = time.monotonic()
            # On slow storage, write rarely enough that writing stays a small part of the time.
            self._pause = max(_FLUSH_SECONDS, 30 * (self._flushed - start))

    def table(self, name: str) -> pa.Table:
        """A table as recorded so far, one row a key, in the order first written."""
        folder = f"journal/{name}"
        parts = [self._read(f"{folder}/{segment}", name) for segment in self._store.list(folder)]
        parts.append(pa.Table.from_pylist(self._rows[name], TABLES[name]))
        whole = pa.concat_tables(parts)
        seen: set[str] = set()
        keep = [not (key in seen or seen.add(key)) for key in whole["key"].to_pylist()]  # type: ignore[func-returns-value]
        return whole if all(keep) else whole.filter(pa.array(keep, pa.bool_()))

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        for batch in self.table(name).to_batches(max_chunksize=1000):
            yield from batch.to_pylist()

    def compact(self) -> None:
        """Merge many small segments into one. Safe to kill: a row found twice counts once."""
        for name in TABLES:
            segments = self._store.list(f"journal/{name}")
            if len(segments) > _COMPACT_SEGMENTS:
                self._write(name, self.table(name))
                for segment in segments:
                    self._store.delete(f"journal/{name}/{segment}")

    def _write(self, table: str, rows: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(rows.replace_schema_metadata(schema.stamp(self._run)), buffer, compression="zstd")
        self._store.write(f"journal/{table}/{self._next[table]:06d}.parquet", buffer.getvalue())
        self._next[table] += 1

    def _read(self, path: str, name: str) -> pa.Table:
        data = io.BytesIO(self._store.read(path))
        schema.check_stamp(pq.read_schema(data).metadata, self._run, f"{self._store.url}/{path}")
        return pq.read_table(data, schema=TABLES[name])


def prompt_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else json.dumps([vars(message) for message in prompt])


def self_edit_row(edit: SelfEdit, stage: str, worker: str) -> dict[str, Any]:
    prompt = prompt_text(edit.prompt)
    names = ("task_id", "index", "policy", "completion", "seed", "tokens", "finished", "refused")
    fields = {name: getattr(edit, name) for name in names}
    return fields | {"key": edit.key, "stage": stage, "prompt": prompt, "worker": worker}


def planned_row(
    stage: str, arm: str, task_id: str, index: int, replicate: int, trial: str, key: str = "", **more: Any
) -> dict[str, Any]:
    key = key or content_key(stage, arm, task_id, index, replicate, trial)
    where = {"stage": stage, "arm": arm, "task_id": task_id, "index": index, "replicate": replicate}
    return {"key": key, "trial": trial, **where, **more}


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    row = {k: v for k, v in vars(outcome).items() if k not in ("failure", "warnings")}
    failure = outcome.failure
    return row | {"failure": failure.kind if failure else None, "reason": failure.reason if failure else None}


def outcome_from_row(row: dict[str, Any]) -> Outcome:
    fields = {name: value for name, value in row.items() if name != "reason"}
    fields["failure"] = Failure(row["failure"], row["reason"]) if row["failure"] else None
    for name in ("answers", "verdicts", "log_likelihoods"):
        fields[name] = tuple(row[name] or ())
    return Outcome(**fields)


def _next_number(segments: list[str]) -> int:
    return max((int(name.split(".")[0]) for name in segments), default=-1) + 1
