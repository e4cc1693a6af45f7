"""The elastic pool, simulated: it grows with the calls that wait, and gives a lost worker's calls to others."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from seal_ray.plan.rates import Rates
from seal_ray.plan.sizes import TextSize, TrialSize
from seal_ray.plan.workers import Call, Device, Worker


class Driver:
    """The driver's process: each finished call takes some of its time, one after the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.free, self.busy = seconds, 0.0, 0.0

    def then(self, follow: Callable[..., None], *args: Any) -> None:
        """Do this when the driver comes to it."""
        loop = asyncio.get_running_loop()
        self.free = max(self.free, loop.time()) + self.seconds
        self.busy += self.seconds
        loop.call_at(self.free, follow, *args)


class Pool:
    """`size` workers at most, each holding calls of up to `depth` weight; `device` says what one at a place runs on."""

    def __init__(
        self,
        name: str,
        driver: Driver,
        device: Callable[[int], Device],
        make: Callable[..., Worker],
        rates: Rates,
        *,
        size: int,
        depth: int,
    ) -> None:
        self.name, self.size, self.depth = name, size, depth
        self.started = self.repeated = 0
        self._driver, self._device, self._make, self._rates = driver, device, make, rates
        self._loop = asyncio.get_running_loop()
        self._places: set[int] = set()
        """Taken by workers that are up or starting."""
        self._outstanding = self._number = 0
        self._waiting: list[tuple[int, int, Call]] = []
        """A heap, the longest first; of equally long ones, that which came first."""
        self._came = count()
        self._up: dict[Worker, int] = {}
        self._by_load: list[tuple[int, int, Worker]] = []
        self._gone = 0.0

    @property
    def workers(self) -> int:
        """How many are up."""
        return len(self._up)

    @property
    def busy(self) -> float:
        """Seconds of work done by all workers so far."""
        for worker in self._up:
            worker.device.settle()
        return self._gone + sum(worker.busy for worker in self._up)

    async def call(self, size: TrialSize | TextSize, weight: int = 1) -> tuple[str, float]:
        """Have a piece of work done. Returns which worker did it, and when it got it."""
        call = Call(size, min(weight, self.depth), self._loop.create_future())
        self._outstanding += call.weight
        self._grow()
        self._wait(call)
        self._hand_out()
        return await call.done

    def resize(self, size: int) -> None:
        """Keep at most `size` workers from now on; of those that are too many, the idle ones go."""
        self.size = size
        for worker in [worker for worker in self._up if not worker.load][: max(0, len(self._places) - size)]:
            self._places.remove(self._take_out(worker))

    def lose(self, places: range, replaced_after: float) -> int:
        """Lose the workers at these places, which come again on a new node. Returns how many there were."""
        lost = [worker for worker, place in self._up.items() if place in places]
        for worker in lost:
            place = self._take_out(worker)
            for call in worker.calls:
                self._wait(call)
            self.repeated += len(worker.calls)
            self._loop.call_later(replaced_after + self._rates.start, self._join, place)
        self._hand_out()
        return len(lost)

    def _wait(self, call: Call) -> None:
        heapq.heappush(self._waiting, (-call.length, next(self._came), call))

    def _take_out(self, worker: Worker) -> int:
        worker.stop()
        self._gone += worker.busy
        worker.load = -1  # out of the running for calls
        return self._up.pop(worker)

    def _grow(self) -> None:
        """Workers that are needed from the beginning start while the driver does; those that are needed later, then."""
        free = (place for place in range(self.size) if place not in self._places)
        while len(self._places) < min(self.size, -(-self._outstanding // self.depth)):
            place = next(free)
            self._places.add(place)
            self.started += 1
            self._loop.call_later(self._rates.start, self._join, place)

    def _join(self, place: int) -> None:
        worker = self._make(f"{self.name}-{place}", self._device(place), self._rates, self._done)
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
            if load == worker.load and load and load + self._waiting[0][-1].weight > self.depth:
                return
            heapq.heappop(self._by_load)
            if load != worker.load:
                continue
            *_, call = heapq.heappop(self._waiting)
            worker.load += call.weight
            self._offer(worker)
            call.since = self._loop.time()
            worker.put(call)

    def _done(self, worker: Worker, call: Call) -> None:
        self._outstanding -= call.weight
        worker.load -= call.weight
        self._offer(worker)
        self._driver.then(_answer, call, worker.name)
        if self._waiting:
            self._loop.call_soon(self._hand_out)


def _answer(call: Call, worker: str) -> None:
    if not call.done.done():
        call.done.set_result((worker, call.since))
