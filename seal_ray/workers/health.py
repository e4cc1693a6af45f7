"""Telling a worker that hangs from one that is slow.

A worker's pulse is answered by a thread of its own and counts the passes of its model. One whose process stands still
answers nothing; one that is stuck in a pass answers, and its count stands still; one that is slow goes on counting.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import ray

from seal_ray.workers.failures import brief
from seal_ray.workers.pulse import GROUP

logger = logging.getLogger(__name__)

_KNOWN_AFTER = 3
"""Answers of a kind after which it is known how long that kind takes."""


def actor(kind: type, **options: Any) -> Any:
    """A Ray actor class whose pulse has a thread of its own."""
    remote: Any = ray.remote
    return remote(concurrency_groups={GROUP: 2})(kind).options(**options)


@dataclass(frozen=True)
class Limits:
    """Seconds. A slow pass is not a hang, so what is not known is given much time."""

    every: float = 5.0
    """Between two looks at a worker's pulse."""
    doubted: float = 15.0
    """Seconds of silence after which a worker gets no more calls."""
    first: float = 300.0
    """Seconds from the start of its process to its first answer, after which it is given up: it imports much, and its
    disk may be slow."""
    told: float = 30.0
    """Seconds of silence, or twice as many without a pass, after which the log says so."""
    silent: float = 60.0
    """Seconds of silence after which it is given up."""
    stuck: float = 900.0
    """Without a pass, after which it is given up, where nothing is known of how long its calls take..."""
    stuck_in_setup: float = 3600.0
    """... or while it loads, or fetches, a model..."""
    least: float = 180.0
    """... and at least so many, or ten times the longest of its kinds of calls, where that is known."""


class Pace:
    """How long the calls of each kind take."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=101))

    def note(self, kind: str, seconds: float) -> None:
        self._seconds[kind].append(seconds)

    def usual(self, kind: str) -> float:
        """The median; infinite while too little is known."""
        known = self._seconds[kind]
        return statistics.median(known) if len(known) >= _KNOWN_AFTER else float("inf")

    def limit(self, kinds: Iterable[str]) -> float:
        """How many seconds a worker with such calls may go without a pass of its model."""
        return max((self._limit(kind) for kind in kinds), default=self._limits.stuck)

    def _limit(self, kind: str) -> float:
        known = self._seconds[kind]
        if len(known) >= _KNOWN_AFTER:
            return max(self._limits.least, 10 * max(known))
        return self._limits.stuck_in_setup if kind == "setup" else self._limits.stuck


class Watched(Protocol):
    """What is looked at of a worker."""

    handle: Any
    doubted: bool
    at: Counter[str]
    """How many calls of each kind it is at."""


async def unanswered(name: str, limits: Limits, started: Callable[[], Awaitable[bool]]) -> str:
    """Look at a worker that has yet to answer for the first time until it is to be given up; returns why.

    For a place on the cluster it may wait for ever. From the start of its process on, time is counted in looks.
    """
    waited, said = 0.0, False
    while waited < limits.first:
        await asyncio.sleep(limits.every)
        waited += limits.every if await started() else 0.0
        if waited >= limits.told and not said:
            said = True
            logger.warning(
                "%s was started and has not answered for %.0f s; it is given up after %.0f", name, waited, limits.first
            )
    return f"it was started and has not answered for {waited:.0f} s"


async def hung(worker: Watched, name: str, limits: Limits, pace: Pace, changed: Callable[[], None]) -> str:
    """Look at a worker's pulse until it is to be given up; returns why. `changed` hears of doubts that come or go.

    Time is counted in looks: a driver that stood still itself, or was kept from the processor, blames nobody for it.
    """
    silent = still = longest = 0.0
    beats, said = -1, False
    pulse = _pulse(worker)
    try:
        while True:
            await asyncio.sleep(limits.every)
            if not pulse.done():
                silent += limits.every
            elif error := pulse.exception():
                return brief(error)
            else:
                waits = worker.at.total() > 0 and pulse.result() == beats
                longest = longest if waits else max(longest, still)
                silent, still, beats = 0.0, (still + limits.every if waits else 0.0), pulse.result()
                pulse = _pulse(worker)
            if worker.doubted != (silent >= limits.doubted):
                worker.doubted = not worker.doubted
                changed()
            at = " or ".join(sorted(+worker.at)) or "anything"
            limit = pace.limit(+worker.at)
            if silent >= limits.silent:
                return f"it has not answered for {silent:.0f} s"
            if still >= limit:
                return f"it answers, and has not got on with {at} for {still:.0f} s"
            late = silent >= limits.told or still >= max(2 * limits.told, 4 * longest)
            if late and not said:
                what = f"answered for {silent:.0f} s" if silent else f"got on with {at} for {still:.0f} s"
                allowed = limits.silent if silent else limit
                logger.warning("%s has not %s; it is given up after %.0f", name, what, allowed)
            said = late
    finally:
        pulse.cancel()


def _pulse(worker: Watched) -> asyncio.Future[int]:
    return asyncio.ensure_future(awaited(worker.handle.pulse.remote()))


async def awaited(answer: Awaitable[Any]) -> Any:
    """A coroutine for an answer of Ray's, of which a task can be made."""
    return await answer
