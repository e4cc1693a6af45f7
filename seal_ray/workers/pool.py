"""An elastic set of equal actors that answers calls, whatever happens to its members.

A call is one coroutine: it waits for a place on the least busy worker, and when that worker is lost it is given
to another. The pool grows while calls wait, shrinks when none do, and needs no gang scheduling: workers that
the cluster cannot place yet are simply pending, which is what an autoscaler acts on.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from seal_ray.record.intervals import now
from seal_ray.workers.errors import Poisoned, WorkerLost
from seal_ray.workers.failures import Fate, brief, fate, survivable, unwrap
from seal_ray.workers.members import Member, Members, PoolStats, draining_nodes
from seal_ray.workers.places import Places

__all__ = ["Member", "Poisoned", "Pool", "PoolStats", "WorkerLost"]

logger = logging.getLogger(__name__)

_ALONE_AFTER, _GIVE_UP_AFTER = 2, 3
"""After two lost workers a call runs alone, so that blame is its own; three lost alone and it is set aside."""
_TICK = 2.0
"""Seconds between looks at idle workers, stragglers and nodes that announce their end."""
_YIELD_AFTER = 5.0
"""Seconds that another pool waits for a first worker to be placed before idle workers make room for it."""


@dataclass(eq=False)
class _Call:
    method: str
    args: tuple[Any, ...]
    weight: int
    length: int
    answer: asyncio.Future[tuple[Any, float]]
    since: float = math.inf
    """When a worker was last given it, by the monotonic clock; infinite while it waits for one."""
    attempts: list[asyncio.Task[None]] = field(default_factory=list)


class Pool:
    """`size` actors at most, each holding up to `depth` calls at a time; or of what `weigh` says that calls weigh.

    A call heavier than `depth` is held by a worker that holds nothing else. Of the calls that wait, those that
    `lasts` says are longest come first. Its actors are made by `health.actor`.
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
        lasts: Callable[[str, tuple[Any, ...]], int] = lambda method, args: 0,
        idle_seconds: float = 300.0,
        patience: float = 30.0,
    ) -> None:
        self.name, self.depth = name, depth
        self.sibling: Pool | None = None
        """Another pool on the same cluster. Idle workers make room for it when it can place none of its own."""
        self.members = Members(
            *(name, spawn, setup, size), wanted=self._wanted, changed=self._changed, broken=self._break
        )
        self._places = Places(self.members.ready, self._room)
        self._weigh, self._lasts, self._idle_seconds, self._patience = weigh, lasts, idle_seconds, patience
        self._calls: set[_Call] = set()
        self._asked = 0
        """What all calls under way weigh."""
        self._expected = False
        self._idle_since = time.monotonic()
        self._unplaced_since: float | None = None
        self._broken = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def workers(self) -> int:
        """How many are up."""
        return len(self.members.ready)

    @property
    def waiting(self) -> int:
        """How many calls no worker has taken yet."""
        return self._places.waiting

    @property
    def held_now(self) -> int:
        """What the calls weigh that workers hold."""
        return sum(member.load for member in self.members.ready)

    @property
    def size(self) -> int:
        return self.members.size

    @property
    def stats(self) -> PoolStats:
        return self.members.stats

    # Calling ------------------------------------------------------------------------------------

    async def call(self, method: str, *args: Any) -> Any:
        """Run a method on some worker. Lost workers are replaced and the call repeated; its own errors are raised."""
        return (await self.timed(method, *args))[0]

    async def timed(self, method: str, *args: Any) -> tuple[Any, float]:
        """The answer to a call, with the time at which the worker that answered was given it."""
        with self._under_way(method, args, min(self._weigh(method, args), self.depth)) as call:
            self._attempt(call)
            return await call.answer

    @contextmanager
    def _under_way(self, method: str, args: tuple[Any, ...], weight: int) -> Iterator[_Call]:
        call = _Call(method, args, weight, self._lasts(method, args), asyncio.get_running_loop().create_future())
        self._calls.add(call)
        self._asked += weight
        self._grow()
        try:
            yield call
        finally:
            self._calls.remove(call)
            self._asked -= weight
            self._idle_since = time.monotonic()
            for attempt in call.attempts:
                attempt.cancel()

    async def broadcast(self, method: str, *args: Any) -> list[Any]:
        """Run a method on every worker, and on each that joins later before its first call."""
        self.members.state = (method, args)
        workers = list(self.members.ready)
        results = await asyncio.gather(
            *(w.answer(method, getattr(w.handle, method).remote(*args)) for w in workers), return_exceptions=True
        )
        for worker, result in zip(workers, results, strict=True):
            if isinstance(result, BaseException):
                if not survivable(result):
                    raise unwrap(result)
                self.lose(worker, result)
        return [result for result in results if not isinstance(result, BaseException)]

    def resize(self, size: int) -> None:
        """Have at most `size` actors from now on. One too many ends what it holds, and goes."""
        self.members.resize(size)

    def lose(self, worker: Member, error: BaseException) -> None:
        """Take a worker out that is gone; what it held, each call gives to another."""
        self.members.lose(worker, error)

    async def close(self) -> None:
        """Give every worker back. Calls still under way are never answered."""
        self._break(RuntimeError(f"the {self.name} pool is closed"))
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.members.close()

    def _attempt(self, call: _Call) -> None:
        call.attempts.append(asyncio.create_task(self._answer(call)))

    async def _answer(self, call: _Call) -> None:
        """Make one attempt at a call; where there are several, the first to end gives the answer."""
        try:
            answer = await self._persist(call)
        except Exception as error:
            if not call.answer.done():
                call.answer.set_exception(error)
        else:
            if not call.answer.done():
                call.answer.set_result(answer)

    async def _persist(self, call: _Call) -> tuple[Any, float]:
        """Make a call on as many workers in turn as it takes."""
        lost = lost_alone = 0
        while True:
            alone = lost >= _ALONE_AFTER
            weight = self.depth if alone else call.weight
            call.since = math.inf
            worker = await self._places.take(weight, call.length)
            start, call.since = now(), time.monotonic()
            try:
                result = await worker.answer(call.method, getattr(worker.handle, call.method).remote(*call.args))
            except Exception as error:
                if not survivable(error):
                    raise unwrap(error) from None
                self.lose(worker, error)
                blamed, reason = fate(error) is Fate.WORKER, brief(error)
            else:
                self.members.shortage.answered()
                return result, start
            finally:
                self._release(worker, weight)
            lost += 1
            lost_alone += alone and blamed
            if lost_alone >= _GIVE_UP_AFTER:
                raise Poisoned(f"its worker was lost {lost} times, {lost_alone} of them alone with it: {reason}")
            self.stats.retried += 1

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Meanwhile start workers for calls that are to come, as many as there may be."""
        self._expected, self._idle_since = True, time.monotonic()
        self._grow()
        try:
            yield
        finally:
            self._expected = False

    @asynccontextmanager
    async def held(self, most: int) -> AsyncIterator[list[Member]]:
        """Some members that are up, one at least, to be called by hand; none is given back meanwhile.

        One that turns out to be lost must be given to `lose`.
        """
        held: list[Member] = []
        with self._under_way("", (), 1) as call:
            try:
                held.append(await self._places.take(1, call.length))
                for worker in [w for w in self.members.ready if w is not held[0] and not w.doubted][: most - 1]:
                    worker.load += 1
                    held.append(worker)
                yield list(held)
            finally:
                for worker in held:
                    self._release(worker, 1)

    # Places -------------------------------------------------------------------------------------

    def _wanted(self) -> int:
        """How many workers there is work for."""
        if self._broken:
            return 0
        return self.size if self._expected else -(-self._asked // self.depth)

    def _room(self) -> int:
        """What one worker may hold."""
        return max(1, int(self.depth * self.members.shortage.share))

    def _grow(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        self.members.grow()

    def _release(self, worker: Member, weight: int) -> None:
        self._places.give_back(worker, weight)
        self.members.dismiss()

    def _changed(self) -> None:
        self._places.hand_out()

    def _break(self, error: BaseException) -> None:
        self._broken = True
        self._places.refuse(error)

    # Keeping ------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        tick = min(_TICK, self._idle_seconds, self._patience)
        while True:
            await asyncio.sleep(tick)
            self.members.drain(await asyncio.to_thread(draining_nodes))
            if self.members.shortage.eased(self.size):
                self.members.grow()
                self._places.hand_out()
            self._try_stragglers_again()
            self._give_back()

    def _try_stragglers_again(self) -> None:
        """When nothing else is to be done, give what takes far longer than usual to an idle worker too."""
        idle = sum(not worker.load and not worker.doubted for worker in self.members.ready)
        if self._places.waiting or not idle:
            return
        now = time.monotonic()
        late = [call for call in self._calls if len(call.attempts) == 1 and now > self._due(call)]
        for call in sorted(late, key=lambda call: call.since)[:idle]:
            self.stats.duplicated += 1
            logger.info("%s: a straggling call is tried on a second worker", self.name)
            self._attempt(call)

    def _due(self, call: _Call) -> float:
        """When a call is late; never where nothing is known of how long its like takes."""
        return call.since + max(self._patience, 4 * self.members.pace.usual(call.method))

    def _give_back(self) -> None:
        """Let go of workers that have had nothing to do for a while, so that their nodes can go.

        Workers that the cluster has yet to place are no longer asked for once nothing needs them; and when the
        sibling finds no room at all, idle workers make some at once.
        """
        yields = self.sibling is not None and self.sibling.finds_no_room()
        limit = time.monotonic() - (0.0 if yields else self._idle_seconds)
        self.members.give_back(limit)
        if not self._calls and (yields or self._idle_since < limit):
            self.members.stop_asking()

    def finds_no_room(self) -> bool:
        """Whether calls have waited for a while, with no worker up and none that the cluster has found a place for."""
        members = self.members
        placed = members.ready or members.leaving or any(member.node for member in members.starting)
        if placed or not self._places.waiting:
            self._unplaced_since = None
            return False
        self._unplaced_since = self._unplaced_since or time.monotonic()
        return time.monotonic() - self._unplaced_since > _YIELD_AFTER
