"""A run followed from beside until it ends, whoever is at work on it, and however often that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from seal_ray.looking.picture import Picture
from seal_ray.looking.seen import look
from seal_ray.policy.unfinished import losses_under_way
from seal_ray.record.manifest import latest
from seal_ray.record.presence import Presence
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import CONFIG

PATIENT = 10
"""Looking takes no more than a tenth of the time, however large a record has become."""
_LOSSES_EVERY = 60.0
"""Seconds between two looks at what is kept of an update, which holds its weights."""


class Watch:
    """Takes pictures of a run. It reads, and does nothing else: no lock is taken, and no file is made."""

    def __init__(self, directory: str, now: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._store, self._now = directory, Store(directory), now
        self._presence = Presence(self._store)
        self._last: tuple[int, Picture] | None = None
        self._changed = now()
        self._losses: tuple[float, ...] = ()
        self._losses_of = (float("-inf"), -1)
        """When they were looked at, and how many updates were done by then."""
        self.version = -1
        """Of the record, as it was when it was last looked at."""
        self.took = 0.0
        """Seconds that the last picture took."""

    def picture(self) -> Picture:
        """The run as it is now; `UserError` where none is here, or its record is damaged."""
        start = self._now()
        at_work, number = self._presence.look(), latest(self._store).number
        if self._last and self._last[0] == number and self._store.exists(CONFIG):
            found = replace(self._last[1], at_work=at_work, still=start - self._changed)
        else:
            found, self._changed = Picture(self._directory, look(self._store), at_work), start
        found = replace(found, losses=self._kept_losses(len(found.seen.policies)))
        self._last, self.version = (number, found), number
        self.took = self._now() - start
        return found

    def _kept_losses(self, updates: int) -> tuple[float, ...]:
        when, done = self._losses_of
        if self._now() - when >= _LOSSES_EVERY or done != updates:
            self._losses, self._losses_of = losses_under_way(self._store), (self._now(), updates)
        return self._losses


def follow(directory: str, every: float, wait: Callable[[float], object] = time.sleep) -> Iterator[Picture]:
    """Pictures of a run, `every` so many seconds, the last one of its end."""
    watch = Watch(directory)
    while not (found := watch.picture()).is_over:
        yield found
        wait(max(every, PATIENT * watch.took))
    yield found
