"""Which worker gets the next call: the least busy of those that can hold it. Calls are served as they came."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from seal_ray.workers.members import Member


class Places:
    """Each of the workers holds calls that weigh `depth` together, or a single one of any weight."""

    def __init__(self, workers: Sequence[Member], depth: Callable[[], int]) -> None:
        """`workers` is looked at whenever a place is given."""
        self._workers, self._depth = workers, depth
        self._waiting: deque[tuple[int, asyncio.Future[Member]]] = deque()
        self._broken: BaseException | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def waited_for(self) -> bool:
        return bool(self._waiting)

    async def take(self, weight: int) -> Member:
        """A worker with room for such a call, which counts as held from then on."""
        if self._broken:
            raise self._broken
        place: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self._waiting.append((weight, place))
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
        """Give free places to the calls that have waited longest."""
        while self._waiting:
            weight, place = self._waiting[0]
            if not place.done():
                fit = (worker for worker in self._workers if not worker.doubted)
                worker = min(fit, key=lambda w: w.load, default=None)
                if worker is None or (worker.load and worker.load + weight > self._depth()):
                    return
                worker.load += weight
                place.set_result(worker)
            self._waiting.popleft()

    def refuse(self, error: BaseException) -> None:
        """All that wait, and all that will, get this error."""
        self._broken = self._broken or error
        for _, place in self._waiting:
            if not place.done():
                place.set_exception(error)
        self._waiting.clear()
