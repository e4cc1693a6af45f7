"""By how much others on the machine slow a run down: how long the kernel kept its processes from a processor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_LOOK = 0.25


class Slowed:
    """The threads of all processes below one, seen every quarter of a second."""

    def __init__(self, parent: int) -> None:
        self._parent = psutil.Process(parent)
        self._before = self._threads()
        self._seen = dict(self._before)

    def look(self) -> None:
        self._seen |= self._threads()

    @property
    def factor(self) -> float:
        """How often longer they took than they computed: 1 where each had a processor whenever it wanted one."""
        since = [
            (ran - before[0], waited - before[1])
            for thread, (ran, waited) in self._seen.items()
            for before in [self._before.get(thread, (0, 0))]
        ]
        ran, waited = (sum(each) for each in zip(*since, strict=True))
        return (ran + waited) / ran

    def _threads(self) -> dict[str, tuple[int, int]]:
        """Nanoseconds that each has computed, and that it was ready to and kept from it."""
        found = {}
        for process in self._parent.children(recursive=True):
            for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    ran, waited, _ = path.read_text().split()
                    found[str(path)] = int(ran), int(waited)
        return found


@contextmanager
def slowed(parent: int) -> Iterator[Slowed]:
    found, over = Slowed(parent), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            found.look()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        found.look()
        over.set()
        looking.join()
