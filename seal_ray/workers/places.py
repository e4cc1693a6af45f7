"""Which worker gets the next call: the least busy of those that can hold it.

The longest call is served first, as one that begins late would end alone; of equally long ones, which they are where
nobody says, that which came first.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Sequence
from itertools import count

from seal_ray.workers.members import Member


class Places:
    """Each of the workers holds calls that weigh `depth` together, or a single one of any weight."""

    def __init__(self, workers: Sequence[Member], depth: Callable[[], int]) -> None:
        """`workers` is looked at whenever a place is given."""
        self._workers, self._depth = workers, depth
        self._waiting: list[tuple[int, int, int, asyncio.Future[Member]]] = []
        """A heap: the length, negated, and when it came, before what it weighs and who waits."""
        self._numbers = count()
        self._broken: BaseException | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, weight: int, length: int = 0) -> Member:
        """A worker with room for such a call, which counts as held from then on."""
        if self._broken:
            raise self._broken
        place: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-length, next(self._numbers), weight, place))
        self.hand_out()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and not place.exception():
                self.give_back(place.result(), weight)
            raise

    def give_back(self, worker: Member, weight: int) -> None:
        worker.load -= weight
        worker.idle_since = time.monotonic()
        self.hand_out()

    def hand_out(self) -> None:
        """Give free places to the longest calls that wait."""
        while self._waiting:
            *_, weight, place = self._waiting[0]
            if not place.done():
                fit = (worker for worker in self._workers if not worker.doubted)
                worker = min(fit, key=lambda w: w.load, default=None)
                if worker is None or (worker.load and worker.load + weight > self._depth()):
                    return
                worker.load += weight
                place.set_result(worker)
            heapq.heappop(self._waiting)

    def refuse(self, error: BaseException) -> None:
        """Raise this error in all calls that wait, and in all that will come."""
        self._broken = self._broken or error
        for *_, place in self._waiting:
            if not place.done():
                place.set_exception(error)
        self._waiting.clear()
