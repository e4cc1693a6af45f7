"""An elastic set of equal actors that answers calls, whatever happens to its members.

A call is one coroutine: it waits for a place on the least busy worker, and when that worker is lost it is given
to another. The pool grows while calls wait, shrinks when none do, and needs no gang scheduling: workers that
the cluster cannot place yet are simply pending, which is what an autoscaler acts on.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)

logger = logging.getLogger(__name__)

LOST = (RayActorError, NodeDiedError, ObjectLostError, RaySystemError, WorkerCrashedError)
_ALONE_AFTER, _GIVE_UP_AFTER = 2, 3
"""After two lost workers a call runs alone, so that blame is its own; three lost alone and it is set aside."""


class Poisoned(Exception):
    """A call that killed its worker again and again, running alone."""


class WorkerLost(Exception):
    """Raised by an actor that cannot go on (its device failed): the call is retried elsewhere."""


@dataclass(eq=False)
class _Worker:
    handle: Any
    number: int
    load: int = 0
    idle_since: float = field(default_factory=time.monotonic)


@dataclass
class PoolStats:
    started: int = 0
    lost: int = 0
    retried: int = 0
    duplicated: int = 0


class Pool:
    """`size` actors at most, each holding up to `depth` calls at a time."""

    def __init__(
        self,
        name: str,
        spawn: Callable[[], Any],
        setup: Callable[[Any], Awaitable[Any]],
        *,
        size: int,
        depth: int,
        idle_seconds: float = 300.0,
        patience: float = 30.0,
    ) -> None:
        self.name, self.size, self.depth = name, size, depth
        self.stats = PoolStats()
        self._spawn, self._setup = spawn, setup
        self._idle_seconds, self._patience = idle_seconds, patience
        self._ready: list[_Worker] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[bool, asyncio.Future[_Worker]]] = deque()
        self._outstanding = 0
        self._durations: deque[float] = deque(maxlen=101)
        self._state: tuple[str, tuple[Any, ...]] | None = None
        self._broken: BaseException | None = None
        self._reaper: asyncio.Task[None] | None = None

    @property
    def workers(self) -> int:
        """How many are up."""
        return len(self._ready)

    # Calling ------------------------------------------------------------------------------------

    async def call(self, method: str, *args: Any) -> Any:
        """Run a method on some worker. Lost workers are replaced and the call repeated; its own errors are raised."""
        return (await self.timed(method, *args))[0]

    async def timed(self, method: str, *args: Any) -> tuple[Any, float]:
        """The same, with the time at which the worker that answered was given the call."""
        self._outstanding += 1
        self._grow()
        attempts: set[asyncio.Task[Any]] = set()
        try:
            attempts.add(asyncio.create_task(self._persist(method, args)))
            while True:
                done, _ = await asyncio.wait(attempts, timeout=self._patience_now(), return_when="FIRST_COMPLETED")
                if done:
                    return done.pop().result()
                if len(attempts) == 1 and not self._waiting and any(not w.load for w in self._ready):
                    self.stats.duplicated += 1
                    logger.info("%s: a straggling call is tried on a second worker", self.name)
                    attempts.add(asyncio.create_task(self._persist(method, args)))
        finally:
            self._outstanding -= 1
            for attempt in attempts:
                attempt.cancel()

    async def broadcast(self, method: str, *args: Any) -> list[Any]:
        """Run a method on every worker, and on each that joins later before its first call."""
        self._state = (method, args)
        workers = list(self._ready)
        results = await asyncio.gather(
            *(getattr(w.handle, method).remote(*args) for w in workers), return_exceptions=True
        )
        for worker, result in zip(workers, results, strict=True):
            if isinstance(result, LOST):
                self._lose(worker)
            elif isinstance(result, BaseException):
                raise _unwrap(result)
        return [result for result in results if not isinstance(result, LOST)]

    async def close(self) -> None:
        """Give every worker back."""
        if self._reaper:
            self._reaper.cancel()
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for worker in self._ready:
            ray.kill(worker.handle)
        self._ready.clear()

    async def _persist(self, method: str, args: tuple[Any, ...]) -> tuple[Any, float]:
        """One attempt at a call: on as many workers in turn as it takes."""
        lost = lost_alone = 0
        while True:
            alone = lost >= _ALONE_AFTER
            worker = await self._acquire(alone)
            start = time.time()
            try:
                result = await getattr(worker.handle, method).remote(*args)
                self._durations.append(time.time() - start)
                return result, start
            except LOST as error:
                self._lose(worker)
                lost += 1
                self.stats.retried += 1
                lost_alone += alone and not _node_died(error)
                if lost_alone >= _GIVE_UP_AFTER:
                    raise Poisoned(f"its worker died {lost} times, {lost_alone} of them while it ran alone") from None
            except RayTaskError as error:
                if not isinstance(error.cause, WorkerLost):
                    raise _unwrap(error) from None
                self._lose(worker)
                ray.kill(worker.handle)
                lost += 1
                self.stats.retried += 1
            finally:
                self._release(worker, alone)

    # Places -------------------------------------------------------------------------------------

    async def _acquire(self, alone: bool) -> _Worker:
        limit = 1 if alone else self.depth
        open_workers = [w for w in self._ready if w.load < limit]
        if open_workers and not self._waiting:
            worker = min(open_workers, key=lambda w: w.load)
            worker.load += self.depth if alone else 1
            return worker
        if self._broken:
            raise self._broken
        place: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append((alone, place))
        self._grow()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and not place.exception():
                self._release(place.result(), alone)
            raise

    def _release(self, worker: _Worker, alone: bool) -> None:
        worker.load -= self.depth if alone else 1
        worker.idle_since = time.monotonic()
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free places to the calls that have waited longest."""
        for _ in range(len(self._waiting)):
            alone, place = self._waiting[0]
            if place.done():
                self._waiting.popleft()
                continue
            limit = 1 if alone else self.depth
            open_workers = [w for w in self._ready if w.load < limit]
            if not open_workers:
                return
            self._waiting.popleft()
            worker = min(open_workers, key=lambda w: w.load)
            worker.load += self.depth if alone else 1
            place.set_result(worker)

    # Members ------------------------------------------------------------------------------------

    def _grow(self) -> None:
        wanted = min(self.size, -(-self._outstanding // self.depth))
        while len(self._ready) + len(self._starting) < wanted and not self._broken:
            task = asyncio.create_task(self._start(self.stats.started))
            self.stats.started += 1
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._reap())

    async def _start(self, number: int) -> None:
        """Bring one worker up; a setup error that another try would not mend stops the pool."""
        for _ in range(5):
            handle = self._spawn()
            try:
                await self._setup(handle)
                state = None
                while state is not self._state:  # a broadcast may come while this one is still catching up
                    state = self._state
                    assert state
                    await getattr(handle, state[0]).remote(*state[1])
            except LOST as error:
                logger.warning("%s worker %d was lost while starting: %s", self.name, number, _brief(error))
                continue
            except asyncio.CancelledError:
                ray.kill(handle)
                raise
            except Exception as error:
                ray.kill(handle)
                return self._break(_unwrap(error))
            self._ready.append(_Worker(handle, number))
            return self._hand_out()
        self._break(RuntimeError(f"{self.name} workers cannot be started: five in a row were lost while starting"))

    def _lose(self, worker: _Worker) -> None:
        if worker in self._ready:
            self._ready.remove(worker)
            self.stats.lost += 1
            logger.warning("%s worker %d was lost; its calls go to others", self.name, worker.number)
            self._grow()

    def _break(self, error: BaseException) -> None:
        self._broken = error
        for _, place in self._waiting:
            if not place.done():
                place.set_exception(error)
        self._waiting.clear()

    async def _reap(self) -> None:
        """Give back workers that have had nothing to do for a while, so that their nodes can go."""
        while True:
            await asyncio.sleep(min(5.0, self._idle_seconds))
            deadline = time.monotonic() - self._idle_seconds
            for worker in [w for w in self._ready if not w.load and w.idle_since < deadline]:
                self._ready.remove(worker)
                ray.kill(worker.handle)

    def _patience_now(self) -> float:
        """How long a call may take before a second worker tries it too: well beyond what is usual."""
        usual = statistics.median(self._durations) if self._durations else 0.0
        return max(self._patience, 4 * usual)


def _unwrap(error: BaseException) -> BaseException:
    """The error a worker raised, with the worker's traceback kept as its cause."""
    if isinstance(error, RayTaskError):
        cause = error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error))
        cause.__cause__ = error
        return cause
    return error


def _node_died(error: BaseException) -> bool:
    """Whether the machine went, for which no call on it is to blame."""
    return isinstance(error, NodeDiedError) or (isinstance(error, ActorDiedError) and "node has died" in str(error))


def _brief(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
