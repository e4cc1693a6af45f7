"""Whether somebody is at work on a run, seen from beside: the lock or the lease is looked at, and never taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seal_ray.record.intervals import clock
from seal_ray.record.lease import current
from seal_ray.record.storage import Store

_LOCKS = Path("/proc/locks")


class Presence:
    """Who is at work on one run; look again to know. A lease says it only to whoever sees it renewed."""

    def __init__(self, store: Store, now: Callable[[], float] = clock) -> None:
        self._store, self._now = store, now
        self._last: dict[str, Any] | None = None
        self._renewed = False
        self._until = 0.0

    def look(self) -> bool | None:
        """Whether somebody is at work; None while a lease has been seen only once, and may be that of a killed one."""
        if self._store.local and is_locked(self._store.local / ".lock"):
            return True
        found = current(self._store)
        if found is None:
            self._last = None
            return False
        if found != self._last:
            self._renewed, self._last = self._last is not None, found
            self._until = self._now() + found["seconds"]
        if self._now() >= self._until:
            return False
        return True if self._renewed else None


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds a lock on this file, as the system lists them.

    To try the lock instead would, for that moment, keep away a driver that begins. Files are told apart by their
    inode: the list's devices are not those of `stat` on every file system.
    """
    try:
        inode, lines = path.stat().st_ino, _LOCKS.read_text().splitlines()
    except OSError:
        return False
    held = (line.split() for line in lines)
    return any(f"{inode}" == parts[5].rpartition(":")[2] for parts in held if parts[1] == "FLOCK")
