"""The elastic pool, simulated: it grows with the calls that wait, and gives a lost worker's calls to others."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from seal_ray.plan.clock import Clock, Device
from seal_ray.plan.workers import Call, Worker


class Driver:
    """One process: what each finished call costs it, it pays one after the other."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.free = self.busy = 0.0

    def then(self, call: Callable[[], None]) -> None:
        self.free = max(self.free, self.clock.now) + self.seconds
        self.busy += self.seconds
        self.clock.at(self.free, call)


class Pool:
    """`devices` has one entry for each worker it may have at most, each holding up to `depth` calls."""

    def __init__(
        self, clock: Clock, driver: Driver, devices: list[Device], depth: int, start: float, make: Callable[..., Worker]
    ) -> None:
        self.clock, self.driver, self.depth, self.start, self._make = clock, driver, depth, start, make
        self.size = len(devices)
        self.started = self.calls = self.repeated = 0
        self._free_places = deque(enumerate(devices))
        self._starting = self._outstanding = self._number = 0
        self._waiting: deque[Call] = deque()
        self._up: dict[Worker, tuple[int, Device]] = {}
        self._by_load: list[tuple[int, int, Worker]] = []
        self._gone = 0.0

    @property
    def busy(self) -> float:
        """Seconds of work done by all workers so far."""
        for worker in self._up:
            worker.settle()
        return self._gone + sum(worker.busy for worker in self._up)

    def call(self, job: Any, then: Callable[[], None]) -> None:
        self.calls += 1
        self._outstanding += 1
        self._grow()
        self._waiting.append(Call(job, then))
        self._hand_out()

    def lose(self, places: range, replaced_after: float) -> int:
        """The workers at these places are gone, and come again on a new node; how many there were."""
        lost = [worker for worker, (place, _) in self._up.items() if place in places]
        for worker in lost:
            worker.stop()
            self._gone += worker.busy
            place = self._up.pop(worker)
            worker.load = -1  # out of the running for calls
            self._waiting.extend(worker.calls)
            self.repeated += len(worker.calls)
            self._starting += 1
            self.clock.after(replaced_after + self.start, self._join, place)
        if lost:
            self._hand_out()
        return len(lost)

    def _grow(self) -> None:
        wanted = min(self.size, -(-self._outstanding // self.depth))
        while len(self._up) + self._starting < wanted:
            self._starting += 1
            self.started += 1
            # Workers that are needed from the beginning start while the driver does; those that are needed later, then.
            self.clock.after(self.start, self._join, self._free_places.popleft())

    def _join(self, place: tuple[int, Device]) -> None:
        self._starting -= 1
        worker = self._make(self.clock, place[1], self._done)
        self._up[worker] = place
        self._offer(worker)
        self._hand_out()

    def _offer(self, worker: Worker) -> None:
        self._number += 1
        heapq.heappush(self._by_load, (worker.load, self._number, worker))

    def _hand_out(self) -> None:
        """Each waiting call to the least busy worker."""
        while self._waiting and self._by_load:
            load, _, worker = self._by_load[0]
            if load != worker.load or load >= self.depth:
                heapq.heappop(self._by_load)
                continue
            heapq.heappop(self._by_load)
            worker.load += 1
            self._offer(worker)
            worker.put(self._waiting.popleft())

    def _done(self, worker: Worker, call: Call) -> None:
        self._outstanding -= 1
        worker.load -= 1
        self._offer(worker)
        self.driver.then(call.then)
        if self._waiting:
            self.clock.at(self.clock.now, self._hand_out)
