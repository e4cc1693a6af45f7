"""The simulation's time: a queue of events, devices that workers share, and workers that get slower when they do."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Clock:
    """Events in the order of their times; those of one time in the order they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time: float, call: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, call, args))

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.at(self.now + seconds, call, *args)

    def run(self, over: Callable[[], bool]) -> None:
        """Until `over`, or nothing is left to happen."""
        while self._events and not over():
            self.now, _, call, args = heapq.heappop(self._events)
            call(*args)


class Device:
    """What its active workers share: a GPU, or a machine of so many cores."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.active: set[Machine] = set()

    @property
    def speed(self) -> float:
        return min(1.0, self.capacity / max(1, len(self.active)))


class Machine:
    """A worker as time passes: its subclass says what it does next, and how long that takes at full speed."""

    def __init__(self, clock: Clock, device: Device) -> None:
        self.clock, self.device = clock, device
        self.busy = 0.0
        """Seconds of work done, each worth a second of a device of its own."""
        self._version = 0
        self._since, self._speed = clock.now, 0.0

    def pace(self) -> float | None:
        """Seconds of work until something happens here; None when idle."""
        raise NotImplementedError

    def progress(self, seconds: float) -> None:
        """So many seconds of work are done."""
        raise NotImplementedError

    def fire(self) -> None:
        """What `pace` counted down to has come."""
        raise NotImplementedError

    def settle(self) -> None:
        """Bring the work done up to now. Called before anything about this worker changes."""
        seconds = (self.clock.now - self._since) * self._speed
        self._since = self.clock.now
        if seconds > 0:
            self.busy += seconds
            self.progress(seconds)

    def reschedule(self) -> None:
        """Look again at what comes next. Called after anything about this worker has changed."""
        pace = self.pace()
        if (pace is not None) != (self in self.device.active):
            others = [worker for worker in self.device.active if worker is not self]
            for worker in others:
                worker.settle()
            if pace is None:
                self.device.active.discard(self)
            else:
                self.device.active.add(self)
            for worker in others:
                worker._schedule(worker.pace())
        self._schedule(pace)

    def stop(self) -> None:
        """This worker is gone."""
        self.settle()
        self._version += 1
        self._speed = 0.0
        if self in self.device.active:
            self.device.active.discard(self)
            for worker in self.device.active:
                worker.settle()
                worker._schedule(worker.pace())

    def _schedule(self, pace: float | None) -> None:
        self._version += 1
        self._since, self._speed = self.clock.now, 0.0 if pace is None else self.device.speed
        if pace is not None:
            self.clock.after(pace / self._speed, self._wake, self._version)

    def _wake(self, version: int) -> None:
        if version == self._version:
            self.settle()
            self.fire()
            self.reschedule()
