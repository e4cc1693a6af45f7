"""An elastic set of equal actors that answers calls, whatever happens to its members.

A call is one coroutine: it waits for a place on the least busy worker, and when that worker is lost it is given
to another. The pool grows while calls wait, shrinks when none do, and needs no gang scheduling: workers that
the cluster cannot place yet are simply pending, which is what an autoscaler acts on.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import statistics
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private.state import state as ray_state
from ray.exceptions import RayError, RayTaskError

from seal_ray.workers.losses import LOST, Poisoned, WorkerLost, brief, node_died, unwrap

__all__ = ["Member", "Poisoned", "Pool", "PoolStats", "WorkerLost"]

logger = logging.getLogger(__name__)

_ALONE_AFTER, _GIVE_UP_AFTER = 2, 3
"""After two lost workers a call runs alone, so that blame is its own; three lost alone and it is set aside."""
_TRIES_TO_START = 5
_KNOWN_AFTER = 3
"""Answers of a kind after which it is known how long that kind takes."""
_TICK = 2.0
"""Seconds between looks at idle workers, stragglers and nodes that announce their end."""
_YIELD_AFTER = 5.0
"""Seconds that another pool waits for a first worker to be placed before idle workers make room for it."""


@dataclass(eq=False)
class Member:
    """One actor of a pool."""

    number: int
    handle: Any = None
    node: str = ""
    """Empty until the cluster has found a place for it."""
    load: int = 0
    idle_since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Call:
    method: str
    args: tuple[Any, ...]
    weight: int
    answer: asyncio.Future[tuple[Any, float]]
    given: float = 0.0
    """When a worker was last given it; 0 while it waits for one."""
    attempts: list[asyncio.Task[None]] = field(default_factory=list)


@dataclass
class PoolStats:
    started: int = 0
    lost: int = 0
    drained: int = 0
    retried: int = 0
    duplicated: int = 0


class Pool:
    """`size` actors at most, each holding up to `depth` calls at a time; or of what `weigh` says that calls weigh.

    A call heavier than `depth` is held by a worker that holds nothing else.
    """

    def __init__(
        self,
        name: str,
        spawn: Callable[[], Any],
        setup: Callable[[Any], Awaitable[Any]],
        *,
        size: int,
        depth: int,
        weigh: Callable[[str, tuple[Any, ...]], int] = lambda method, args: 1,
        idle_seconds: float = 300.0,
        patience: float = 30.0,
    ) -> None:
        self.name, self.size, self.depth = name, size, depth
        self.stats = PoolStats()
        self.sibling: Pool | None = None
        """Another pool on the same cluster. Idle workers make room for it when it can place none of its own."""
        self._spawn, self._setup, self._weigh = spawn, setup, weigh
        self._idle_seconds, self._patience = idle_seconds, patience
        self._ready: list[Member] = []
        self._starting: dict[Member, asyncio.Task[None]] = {}
        self._leaving: list[Member] = []
        self._waiting: deque[tuple[int, asyncio.Future[Member]]] = deque()
        self._calls: set[_Call] = set()
        self._asked = 0
        """What all calls under way weigh."""
        self._idle_since = time.monotonic()
        self._unplaced_since: float | None = None
        self._durations: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=101))
        self._state: tuple[str, tuple[Any, ...]] | None = None
        self._broken: BaseException | None = None
        self._keeper: asyncio.Task[None] | None = None

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
        weight = min(self._weigh(method, args), self.depth)
        call = _Call(method, args, weight, asyncio.get_running_loop().create_future())
        self._calls.add(call)
        self._asked += weight
        self._grow()
        self._attempt(call)
        try:
            return await call.answer
        finally:
            self._calls.remove(call)
            self._asked -= weight
            self._idle_since = time.monotonic()
            for attempt in call.attempts:
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
                self.lose(worker)
            elif isinstance(result, BaseException):
                raise unwrap(result)
        return [result for result in results if not isinstance(result, LOST)]

    def resize(self, size: int) -> None:
        """So many actors at most from now on. One too many ends what it holds, and goes."""
        self.size = size
        surplus = len(self._ready) + len(self._starting) - size
        for task in list(self._starting.values())[: max(0, surplus)]:
            task.cancel()
            surplus -= 1
        for worker in sorted(self._ready, key=lambda w: w.load)[: max(0, surplus)]:
            self._ready.remove(worker)
            self._leaving.append(worker)
        self._dismiss()

    async def close(self) -> None:
        """Give every worker back. Calls still under way are never answered."""
        self._broken = self._broken or RuntimeError(f"the {self.name} pool is closed")
        tasks = [*self._starting.values(), *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in [*self._ready, *self._leaving]:
            ray.kill(worker.handle)
        self._ready.clear()
        self._leaving.clear()

    def _attempt(self, call: _Call) -> None:
        call.attempts.append(asyncio.create_task(self._answer(call)))

    async def _answer(self, call: _Call) -> None:
        """One attempt at a call; of several, the first to end counts."""
        try:
            answer = await self._persist(call)
        except Exception as error:
            if not call.answer.done():
                call.answer.set_exception(error)
        else:
            if not call.answer.done():
                call.answer.set_result(answer)

    async def _persist(self, call: _Call) -> tuple[Any, float]:
        """On as many workers in turn as it takes."""
        lost = lost_alone = 0
        while True:
            alone = lost >= _ALONE_AFTER
            weight = self.depth if alone else call.weight
            call.given = 0.0
            worker = await self._acquire(weight)
            call.given = start = time.time()
            try:
                result = await getattr(worker.handle, call.method).remote(*call.args)
                self._durations[call.method].append(time.time() - start)
                return result, start
            except LOST as error:
                self.lose(worker)
                lost_alone += alone and not node_died(error)
                reason = brief(error)
            except RayTaskError as error:
                if not isinstance(error.cause, WorkerLost):
                    raise unwrap(error) from None
                self.lose(worker)
                lost_alone += alone
                reason = str(error.cause)
            finally:
                self._release(worker, weight)
            lost += 1
            if lost_alone >= _GIVE_UP_AFTER:
                raise Poisoned(f"its worker was lost {lost} times, {lost_alone} of them alone with it: {reason}")
            self.stats.retried += 1

    @asynccontextmanager
    async def held(self, most: int) -> AsyncIterator[list[Member]]:
        """Up to so many members that are up, one at least, to be called by hand; none is given back meanwhile.

        One that turns out to be lost must be given to `lose`.
        """
        call = _Call("", (), 1, asyncio.get_running_loop().create_future())
        self._calls.add(call)
        self._asked += 1
        self._grow()
        held: list[Member] = []
        try:
            held.append(await self._acquire(1))
            for worker in [w for w in self._ready if w is not held[0]][: most - 1]:
                worker.load += 1
                held.append(worker)
            yield list(held)
        finally:
            self._calls.remove(call)
            self._asked -= 1
            for worker in held:
                self._release(worker, 1)

    # Places -------------------------------------------------------------------------------------

    async def _acquire(self, weight: int) -> Member:
        if self._broken:
            raise self._broken
        place: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self._waiting.append((weight, place))
        self._hand_out()
        if not place.done():
            self._grow()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and not place.exception():
                self._release(place.result(), weight)
            raise

    def _release(self, worker: Member, weight: int) -> None:
        worker.load -= weight
        worker.idle_since = time.monotonic()
        self._dismiss()
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free places to the calls that have waited longest."""
        while self._waiting:
            weight, place = self._waiting[0]
            if not place.done():
                worker = min(self._ready, key=lambda w: w.load, default=None)
                if worker is None or worker.load + weight > self.depth:
                    return
                worker.load += weight
                place.set_result(worker)
            self._waiting.popleft()

    # Members ------------------------------------------------------------------------------------

    def _grow(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        wanted = min(self.size, -(-self._asked // self.depth))
        while len(self._ready) + len(self._starting) < wanted and not self._broken:
            worker = Member(self.stats.started)
            self.stats.started += 1
            task = self._starting[worker] = asyncio.create_task(self._start(worker))
            task.add_done_callback(functools.partial(self._started, worker))

    def _started(self, worker: Member, _: asyncio.Task[None]) -> None:
        del self._starting[worker]
        self._grow()  # a call may have come while it was being given up

    async def _start(self, worker: Member) -> None:
        """Bring one worker up; a setup error that another try would not mend stops the pool."""
        tries = 0
        while tries < _TRIES_TO_START:
            worker.node, worker.handle = "", self._spawn()
            try:
                await self._prepare(worker)
            except LOST as error:
                logger.warning("%s worker %d was lost while starting: %s", self.name, worker.number, brief(error))
                ray.kill(worker.handle)
                tries += not node_died(error)
            except asyncio.CancelledError:
                ray.kill(worker.handle)
                raise
            except Exception as error:
                ray.kill(worker.handle)
                return self._break(unwrap(error))
            else:
                worker.idle_since = time.monotonic()
                self._ready.append(worker)
                return self._hand_out()
        self._break(RuntimeError(f"{self.name} workers cannot be started: {tries} in a row were lost while starting"))

    async def _prepare(self, worker: Member) -> None:
        worker.node = await worker.handle.__ray_call__.remote(_node_here)
        await self._setup(worker.handle)
        state = None
        while state is not self._state:  # a broadcast may come while this one is still catching up
            state = self._state
            assert state
            await getattr(worker.handle, state[0]).remote(*state[1])

    def lose(self, worker: Member) -> None:
        """Take a worker out; what it held, each call gives to another."""
        for members in (self._ready, self._leaving):
            if worker in members:
                members.remove(worker)
                self.stats.lost += 1
                logger.warning("%s worker %d was lost; its calls go to others", self.name, worker.number)
                ray.kill(worker.handle)  # one that only cannot be reached would keep its place on the cluster
        self._grow()

    def _break(self, error: BaseException) -> None:
        self._broken = self._broken or error
        for _, place in self._waiting:
            if not place.done():
                place.set_exception(error)
        self._waiting.clear()

    # Keeping ------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        tick = min(_TICK, self._idle_seconds, self._patience)
        while True:
            await asyncio.sleep(tick)
            self._drain(await asyncio.to_thread(_draining_nodes))
            self._try_stragglers_again()
            self._give_back()

    def _drain(self, nodes: set[str]) -> None:
        """Give no more calls to workers on nodes that announce their end. What they hold they may still finish."""
        for worker in [w for w in self._ready if w.node in nodes]:
            logger.warning("%s worker %d gets no more calls: its node is going away", self.name, worker.number)
            self._ready.remove(worker)
            self._leaving.append(worker)
            self.stats.drained += 1
        self._dismiss()
        self._grow()

    def _dismiss(self) -> None:
        for worker in [w for w in self._leaving if not w.load]:
            self._leaving.remove(worker)
            ray.kill(worker.handle)

    def _try_stragglers_again(self) -> None:
        """When nothing else is to be done, give what takes far longer than usual to an idle worker too."""
        idle = sum(not worker.load for worker in self._ready)
        if self._waiting or not idle:
            return
        now = time.time()
        late = [call for call in self._calls if len(call.attempts) == 1 and call.given and now > self._due(call)]
        for call in sorted(late, key=lambda call: call.given)[:idle]:
            self.stats.duplicated += 1
            logger.info("%s: a straggling call is tried on a second worker", self.name)
            self._attempt(call)

    def _due(self, call: _Call) -> float:
        """When a call is late; never where nothing is known of how long its like takes."""
        known = self._durations[call.method]
        usual = statistics.median(known) if len(known) >= _KNOWN_AFTER else math.inf
        return call.given + max(self._patience, 4 * usual)

    def _give_back(self) -> None:
        """Let go of workers that have had nothing to do for a while, so that their nodes can go.

        Workers that the cluster has yet to place are no longer asked for once nothing needs them; and when the
        sibling finds no room at all, idle workers make some at once.
        """
        now = time.monotonic()
        yields = self.sibling is not None and self.sibling.finds_no_room()
        limit = now - (0.0 if yields else self._idle_seconds)
        for worker in [w for w in self._ready if not w.load and w.idle_since <= limit]:
            self._ready.remove(worker)
            ray.kill(worker.handle)
        if not self._calls and (yields or self._idle_since < limit):
            for worker, task in self._starting.items():
                if not worker.node:
                    task.cancel()

    def finds_no_room(self) -> bool:
        """Whether calls have waited for a while, with no worker up and none that the cluster has found a place for."""
        placed = self._ready or self._leaving or any(worker.node for worker in self._starting)
        if placed or not self._waiting:
            self._unplaced_since = None
            return False
        self._unplaced_since = self._unplaced_since or time.monotonic()
        return time.monotonic() - self._unplaced_since > _YIELD_AFTER


def _node_here(_: Any) -> str:
    return ray.get_runtime_context().get_node_id()


def _draining_nodes() -> set[str]:
    """Ids of nodes that announce their end; none while the cluster's head cannot be asked."""
    try:
        return set(ray_state.get_draining_nodes())
    except RayError:
        return set()
