"""A tracker behind a thread of its own: however slow it is, or broken, whoever has figures for it goes on at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from seal_ray.observe.figures import Figure
from seal_ray.observe.sinks.base import Sink
from seal_ray.plain import counted, first_line, one_line

logger = logging.getLogger(__name__)

WAITING = 50_000
"""Figures that may wait for a tracker; there are a few for every trial."""
PAUSE = 30.0
"""Seconds between what a tracker is told and what it is told next: most of what telling takes is taken each time."""
_AT_ONCE = 500
_LATER = "told when the run is continued"


class Outlet:
    """Tells a tracker, in order, all that it does not hold yet."""

    def __init__(self, name: str, open_sink: Callable[[], Sink], earlier: Sequence[Figure] = (), most: int = WAITING):
        """`earlier` is what the run came to before; of what comes from now on, `most` may wait."""
        self._name, self._open, self._most = name, open_sink, most + len(earlier)
        self._waiting: list[Figure] = [*earlier]
        self._missed = 0
        """Figures that had no room, or that this process did not come to."""
        self._closing = self._ended = self._failed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def tell(self, figures: Sequence[Figure]) -> None:
        """Have these told; returns at once."""
        with self._changed:
            room = 0 if self._failed else max(0, self._most - len(self._waiting))
            self._waiting += figures[:room]
            self._missed += len(figures[room:])
            self._changed.notify()

    def close(self, ended: bool) -> None:
        """Say that nothing more comes; `join` waits for it to be told."""
        with self._changed:
            self._closing, self._ended = True, ended
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait so long at most, and say what was not told."""
        self._thread.join(seconds)
        late = self._thread.is_alive()
        with self._changed:
            missed = self._missed + len(self._waiting)
        if late and not missed:
            logger.warning("%s: it has not closed in time", self._name)
        elif missed and not self._failed:
            logger.warning("%s: %s not told in time; they are %s", self._name, counted(missed, "figure"), _LATER)

    def _work(self) -> None:
        try:
            sink = self._open()
            held = sink.held()
            while (figures := self._next()) is not None:
                new = [*{key: each for each in figures if (key := (each.name, each.step)) not in held}.values()]
                for start in range(0, len(new), _AT_ONCE):
                    sink.tell(new[start : start + _AT_ONCE])
                held.update((each.name, each.step) for each in new)
                with self._changed:
                    del self._waiting[: len(figures)]
                    self._changed.wait_for(lambda: self._closing, PAUSE)
            sink.close(self._ended)
        except Exception as error:
            with self._changed:
                self._failed, self._waiting = True, []
            why = one_line(first_line(error))
            logger.warning("%s: %s; it is told no more, the run goes on; the rest is %s", self._name, why, _LATER)

    def _next(self) -> list[Figure] | None:
        """What waits, which stays where it is until it is told; None when nothing more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return [*self._waiting] or None
