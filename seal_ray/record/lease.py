"""A lease says who may write where there are no locks: its holder keeps renewing it, and others wait it out.

Leases are numbered objects, made only where there is none of that number. Whoever finds one watches it: when nothing
has changed for as long as it was given for, its holder is gone, and the watcher makes the next number. No two clocks
are compared. A holder that was stopped for longer than its lease looks for higher numbers before it writes again.
What it might still write in that moment, the journal refuses (see `manifest`).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from seal_ray.record.intervals import clock
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

SECONDS = 30.0
_FOLDER = "lease"


class Lost(UserError):
    """Another driver has taken over; this one must write nothing more."""


class Files(Protocol):
    """What a lease needs of a store."""

    url: str

    def walk(self, folder: str) -> dict[str, int]: ...
    def read(self, name: str) -> bytes: ...
    def create(self, name: str, data: bytes) -> bool: ...
    def overwrite(self, name: str, data: bytes) -> None: ...
    def delete(self, name: str) -> None: ...


def current(files: Files) -> dict[str, Any] | None:
    """The lease that nobody has given back, as it is now: who has it, for how many seconds, and its beat."""
    last = _last(files)
    found = json.loads(last[1]) if last else {"released": True}
    return None if found.get("released") else found


class Lease:
    """The right to write, from `acquire` to `close`; call `check` before every write."""

    def __init__(self, files: Files, number: int, holder: str, seconds: float, now: Callable[[], float]) -> None:
        self._files, self._number, self._holder, self._seconds, self._now = files, number, holder, seconds, now
        self._until = 0.0
        self._beat = 0
        self._lost = False
        self._turn = threading.Lock()
        self._closed = threading.Event()

    @classmethod
    def acquire(
        cls,
        files: Files,
        seconds: float | None = None,
        now: Callable[[], float] = clock,
        wait: Callable[[float], object] = time.sleep,
        renewed: bool = True,
    ) -> Lease:
        """Take the lease, after waiting out one whose holder is gone; `UserError` when its holder is at work.

        Not `renewed`, its holder renews it only where a check finds it at its end.
        """
        seconds = SECONDS if seconds is None else seconds
        last = _last(files)
        if last and not json.loads(last[1]).get("released"):
            _wait_out(files, last, now, wait)
        number, start = (last[0] if last else 0) + 1, now()
        lease = cls(files, number, uuid.uuid4().hex, seconds, now)
        if not files.create(_name(number), lease._content()):
            raise UserError(f"{files.url}: another process was quicker to take over here; wait for it, or stop it")
        lease._until = start + seconds
        if last:
            files.delete(_name(last[0]))
        if renewed:
            threading.Thread(target=lease._keep, name="lease", daemon=True).start()
        return lease

    def check(self) -> None:
        """Return while the lease is held, renewing one that may have run out; `Lost` when another has it."""
        if self._lost or self._now() >= self._until:
            self.renew()

    def renew(self) -> None:
        with self._turn:
            start, last = self._now(), _last(self._files)
            self._lost = self._lost or last is None or last[0] != self._number
            if self._lost:
                who = f" ({json.loads(last[1])['who']})" if last else ""
                raise Lost(f"{self._files.url}: another process has taken this run over{who}; this one writes no more")
            self._beat += 1
            self._files.overwrite(_name(self._number), self._content())
            self._until = start + self._seconds

    def close(self) -> None:
        """Let the next driver begin at once."""
        self._closed.set()
        with self._turn:
            last = _last(self._files)
            if last and last[0] == self._number:
                self._files.overwrite(_name(self._number), self._content(released=True))

    def _keep(self) -> None:
        while not self._closed.wait(self._seconds / 3):
            try:
                self.renew()
            except Lost:
                return
            except Exception as error:  # a network that is away: what counts is whether it is back before the end
                logger.warning("the lease on %s could not be renewed: %s", self._files.url, error)

    def _content(self, **more: bool) -> bytes:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        return json.dumps(
            {"holder": self._holder, "who": who, "seconds": self._seconds, "beat": self._beat, **more}
        ).encode()


def _wait_out(files: Files, last: tuple[int, bytes], now: Callable[[], float], wait: Callable[[float], object]) -> None:
    found = json.loads(last[1])
    until = now() + found["seconds"]
    logger.warning("%s: waits %g s to see whether %s is still at work here", files.url, found["seconds"], found["who"])
    while now() < until:
        wait(found["seconds"] / 10)
        if _last(files) != last:
            raise UserError(f"{files.url}: another process is at work here ({found['who']}); wait for it, or stop it")


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:06d}.json"


def _last(files: Files) -> tuple[int, bytes] | None:
    """The lease of the highest number, as it is now."""
    while True:
        numbers = [int(name[len(_FOLDER) + 1 : -5]) for name in files.walk(_FOLDER) if name.endswith(".json")]
        if not numbers:
            return None
        try:
            return max(numbers), files.read(_name(max(numbers)))
        except FileNotFoundError:  # the next one came between
            continue
