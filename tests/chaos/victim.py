"""What a driver notes to be read once it is dead: which rows it has handed to its journal, and when.

Its clock is its own. It stands still while the process is kept from the processor or is stopped, and while the journal
writes: neither a busy machine nor a slow disk makes a row look as if the journal had let it lie.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seal_ray.record.journal import Journal

WORK = ("self_edits", "outcomes", "policies", "continual")
"""The tables whose rows were work."""
_TICK, _MOST = 0.02, 0.1
"""Seconds between two looks at the time, and the most that one counts for."""


class Clock:
    """Seconds that this process has lived through, in a file that outlives it."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._shown = mmap.mmap(file.fileno(), 8)
        self._seconds, self._writing, self._lock = 0.0, 0, threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._over.wait(_TICK):
            now = time.monotonic()
            if not self._writing:
                self._add(min(now - last, _MOST))
            last = now

    def _add(self, seconds: float) -> None:
        with self._lock:
            self._seconds += seconds
            struct.pack_into("d", self._shown, 0, self._seconds)

    def now(self) -> float:
        return self._seconds

    def stop(self) -> None:
        self._over.set()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Of the time in here only what the thread computes is counted."""
        start = time.thread_time()
        self._writing += 1
        try:
            yield
        finally:
            self._writing -= 1
            self._add(time.thread_time() - start)


@contextmanager
def noted(folder: Path) -> Iterator[Clock]:
    """While this lasts, what this process hands to the journal of the run in `folder` is noted, by this clock."""
    clock = Clock(_clock(folder, os.getpid()))
    append, write_all = Journal.append, Journal._write_all

    def noted_append(journal: Journal, table: str, row: dict[str, Any]) -> None:
        if table in WORK:
            _add(folder, [clock.now(), os.getpid(), "handed", f"{table} {row['key']}"])
        append(journal, table, row)

    def timed_write_all(journal: Journal, rows: Any) -> Any:
        with clock.writing():
            return write_all(journal, rows)

    Journal.append, Journal._write_all = noted_append, timed_write_all  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        clock.stop()
        Journal.append, Journal._write_all = append, write_all  # type: ignore[method-assign]


def note_met(folder: Path, what: str) -> None:
    """A fault of the run in `folder` has been met."""
    _add(folder, [0.0, os.getpid(), "met", what])


def lines_noted(folder: Path) -> int:
    return len(_lines(folder))


def faults_met(folder: Path) -> list[str]:
    return [what for _, _, how, what in _lines(folder) if how == "met"]


def handed(folder: Path) -> list[tuple[float, int, str]]:
    """Each row that was handed over: when by the clock of its process, that process, and the row's name."""
    return [(when, pid, what) for when, pid, how, what in _lines(folder) if how == "handed"]


def done_twice(*folders: Path) -> tuple[int, float]:
    """How many rows one process handed over and then another, and for how long at most the first had still lived.

    Several folders are of drivers of one run, each after the one before.
    """
    before: dict[str, tuple[int, float]] = {}
    left = []
    for folder in folders:
        for when, pid, what in handed(folder):
            first, then = before.get(what, (pid, when))
            if first != pid:
                left.append(_died(folders, first) - then)
                then = when
            before[what] = pid, then
    return len(left), max(left, default=0.0)


def _died(folders: tuple[Path, ...], pid: int) -> float:
    path = next(path for folder in folders if (path := _clock(folder, pid)).exists())
    return struct.unpack("d", path.read_bytes())[0]


def _clock(folder: Path, pid: int) -> Path:
    return folder.with_suffix(f".clock-{pid}")


def _lines(folder: Path) -> list[Any]:
    path = folder.with_suffix(".noted")
    found = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in found if line.endswith("\n")]  # the last may be in the middle of being written


def _add(folder: Path, line: list[Any]) -> None:
    with folder.with_suffix(".noted").open("a") as file:
        file.write(json.dumps(line) + "\n")
