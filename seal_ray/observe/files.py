"""Where the lines of a log go: the end of a file, or an object for each start, where nothing can be added to one."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Protocol

from seal_ray.record.storage import Store

_EVERY = 30.0
"""Seconds between two times at which an object is written anew with what it lacks."""


class Lines(Protocol):
    """Takes whole lines. Any call may raise `OSError` or `UserError`."""

    def write(self, line: bytes) -> None: ...

    def close(self) -> None: ...


class Appended:
    """The end of a file, each line by one call: after a kill all that was logged is there, and no half of a line."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, -1

    def write(self, line: bytes) -> None:
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":  # as a full disk leaves it
                line = b"\n" + line
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Uploaded:
    """An object of this start's own, written anew every half a minute while lines come, and at the end."""

    def __init__(self, url: str, folder: str, name: str) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._store, self._name = Store(url), f"{folder}/{stamp}-{os.urandom(3).hex()}-{name}"
        self._data, self._written = bytearray(), 0
        self._problem: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        if self._problem:
            raise self._problem
        self._data += line

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._problem:
            raise self._problem

    def _keep(self) -> None:
        while not self._problem:
            over = self._ended.wait(_EVERY)
            if len(data := bytes(self._data)) > self._written:
                try:
                    self._store.write(self._name, data)
                    self._written = len(data)
                except Exception as error:  # `write` raises it where it is caught
                    self._problem = error
            if over:
                return
