"""The members of a pool: started as they are wanted, replaced when lost, given back when idle."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private.state import state as ray_state
from ray.exceptions import RayError

from seal_ray.types import UserError
from seal_ray.workers.errors import WorkerLost
from seal_ray.workers.failures import Fate, brief, fate, survivable, unwrap
from seal_ray.workers.health import Limits, Pace, awaited, hung, unanswered
from seal_ray.workers.shortage import Shortage

logger = logging.getLogger(__name__)

_TRIES_TO_START = 5


@dataclass
class PoolStats:
    started: int = 0
    lost: int = 0
    drained: int = 0
    retried: int = 0
    duplicated: int = 0


@dataclass(eq=False)
class Member:
    """One actor of a pool."""

    number: int
    pace: Pace
    handle: Any = None
    node: str = ""
    """The node it is on; empty until the cluster has found a place for it."""
    load: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    at: Counter[str] = field(default_factory=Counter)
    """How many calls of each kind it is at."""
    doubted: bool = False
    """Silent for a while: it gets no more calls until it is heard of."""
    gone: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Why it was given up, once it was."""

    async def answer(self, kind: str, answer: Awaitable[Any]) -> Any:
        """The result of a call that was made of it; `WorkerLost` once it has been given up."""
        start, answered = time.monotonic(), asyncio.ensure_future(awaited(answer))
        self.at[kind] += 1
        try:
            await asyncio.wait({answered, self.gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise WorkerLost(self.gone.result())
            result = answered.result()
        finally:
            self.at[kind] -= 1
            answered.cancel()
        self.pace.note(kind, time.monotonic() - start)
        return result

    def end(self, reason: str) -> None:
        """Tell those that wait for it, and kill it: else one that only cannot be reached would keep its place."""
        if not self.gone.done():
            self.gone.set_result(reason)
        ray.kill(self.handle)


class Members:
    """The members of a pool, of which at most `size` are up or on their way."""

    def __init__(
        self,
        name: str,
        spawn: Callable[[], Any],
        setup: Callable[[Any], Awaitable[Any]],
        size: int,
        *,
        wanted: Callable[[], int],
        changed: Callable[[], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        """`wanted` says for how many there is work; `changed` hears of new places, `broken` of what no try fixes."""
        self.name, self.size, self.stats = name, size, PoolStats()
        self.ready: list[Member] = []
        self.starting: dict[Member, asyncio.Task[None]] = {}
        self.leaving: list[Member] = []
        self.state: tuple[str, tuple[Any, ...]] | None = None
        """The call that every member gets before its first other one."""
        self.limits = Limits()
        self.pace, self.shortage = Pace(self.limits), Shortage(name)
        self._spawn, self._setup = spawn, setup
        self._wanted, self._changed, self._broken = wanted, changed, broken
        self._watches: dict[Member, asyncio.Task[None]] = {}

    # Coming -------------------------------------------------------------------------------------

    def grow(self) -> None:
        while len(self.ready) + len(self.starting) < min(self.size, self._wanted(), self.shortage.workers):
            member = Member(self.stats.started, self.pace)
            self.stats.started += 1
            task = self.starting[member] = asyncio.create_task(self._start(member))
            task.add_done_callback(functools.partial(self._started, member))

    def _started(self, member: Member, _: asyncio.Task[None]) -> None:
        del self.starting[member]
        self.grow()  # a call may have come while it was being given up

    async def _start(self, member: Member) -> None:
        """Bring one member up; a setup error that another try would not fix stops the pool."""
        tries, reason = 0, ""
        while tries < _TRIES_TO_START:
            await self.shortage.pause()
            member.node, member.gone = "", asyncio.get_running_loop().create_future()
            member.handle = self._spawn()
            try:
                await self._prepare(member)
            except asyncio.CancelledError:
                self._end(member, "it is no longer needed")
                raise
            except Exception as error:
                self._end(member, reason := brief(error))
                if not survivable(error):
                    return self._broken(unwrap(error))
                self._hear_of(error)
                logger.warning("%s worker %d was lost while starting: %s", self.name, member.number, reason)
                tries += fate(error) is Fate.WORKER
            else:
                member.idle_since = time.monotonic()
                self.ready.append(member)
                return self._changed()
        lost = f"{tries} in a row were lost while starting; the last one: {reason}"
        self._broken(UserError(f"{self.name} workers cannot be started: {lost}"))

    async def _prepare(self, member: Member) -> None:
        async def started() -> bool:
            member.node = member.node or await asyncio.to_thread(_started_on, member.handle)
            return bool(member.node)

        called = f"{self.name} worker {member.number}"
        self._watch(member, lambda: unanswered(called, self.limits, started))
        member.node = await member.answer("start", member.handle.__ray_call__.remote(_node_here))
        self._watch(member, lambda: hung(member, called, self.limits, self.pace, self._changed))
        await member.answer("setup", self._setup(member.handle))
        state = None
        while state is not self.state:  # a broadcast may come while this one is still catching up
            state = self.state
            assert state
            await member.answer(state[0], getattr(member.handle, state[0]).remote(*state[1]))

    def _watch(self, member: Member, look: Callable[[], Awaitable[str]]) -> None:
        """Look at a member in this way from now on, instead of as before."""
        if before := self._watches.pop(member, None):
            before.cancel()
        self._watches[member] = asyncio.create_task(self._give_up_after(member, look))

    async def _give_up_after(self, member: Member, look: Callable[[], Awaitable[str]]) -> None:
        """Give it up when it hangs. One that is still starting is begun again by those that wait for its setup."""
        reason = await look()
        if not self.lose(member, WorkerLost(reason)):
            member.end(reason)

    # Going --------------------------------------------------------------------------------------

    def lose(self, member: Member, error: BaseException) -> bool:
        """Take one out that is gone; what it held, each call gives to another. Whether it was still in."""
        for members in (self.ready, self.leaving):
            if member in members:
                members.remove(member)
                self.stats.lost += 1
                if not self._hear_of(error):
                    logger.warning(
                        "%s worker %d was lost (%s); its calls go to others", self.name, member.number, brief(error)
                    )
                self._end(member, brief(error))
                self.grow()
                return True
        return False

    def _hear_of(self, error: BaseException) -> bool:
        """Whether it tells of a shortage; one that does not pass stops the pool."""
        short = fate(error) is Fate.SHORT
        if short and (advice := self.shortage.struck(len(self.ready), brief(error))):
            self._broken(UserError(advice))
        return short

    def drain(self, nodes: set[str]) -> None:
        """Give no more calls to members on nodes that announce their end. What they hold they may still finish."""
        for member in [m for m in self.ready if m.node in nodes]:
            logger.warning("%s worker %d gets no more calls: its node is going away", self.name, member.number)
            self.stats.drained += 1
            self._see_off(member)
        self.dismiss()
        self.grow()

    def resize(self, size: int) -> None:
        """Have at most `size` members from now on. One too many ends what it holds, and goes."""
        self.size = size
        surplus = len(self.ready) + len(self.starting) - size
        for task in list(self.starting.values())[: max(0, surplus)]:
            task.cancel()
            surplus -= 1
        for member in sorted(self.ready, key=lambda m: m.load)[: max(0, surplus)]:
            self._see_off(member)
        self.dismiss()

    def _see_off(self, member: Member) -> None:
        self.ready.remove(member)
        self.leaving.append(member)

    def dismiss(self) -> None:
        """Let go of those that leave and have ended what they held."""
        for member in [m for m in self.leaving if not m.load]:
            self.leaving.remove(member)
            self._end(member, "it is no longer needed")

    def give_back(self, idle_since: float) -> None:
        """Let go of those that have had nothing to do since then, so that their nodes can go."""
        for member in [m for m in self.ready if not m.load and m.idle_since <= idle_since]:
            self.ready.remove(member)
            self._end(member, "it is no longer needed")

    def stop_asking(self) -> None:
        """Give up members that the cluster has yet to place."""
        for member, task in self.starting.items():
            if not member.node:
                task.cancel()

    async def close(self) -> None:
        for task in (tasks := list(self.starting.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in [*self.ready, *self.leaving]:
            self._end(member, "the pool is closed")
        self.ready.clear()
        self.leaving.clear()

    def _end(self, member: Member, reason: str) -> None:
        watch = self._watches.pop(member, None)
        if watch and watch is not asyncio.current_task():
            watch.cancel()
        member.end(reason)


def draining_nodes() -> set[str]:
    """Ids of nodes that announce their end; none while the cluster's head does not answer."""
    try:
        return set(ray_state.get_draining_nodes())
    except RayError:
        return set()


def _started_on(handle: Any) -> str:
    """The node on which an actor has a process; none before, nor while the cluster's head does not answer."""
    try:
        found = ray_state.actor_table(handle._ray_actor_id.hex())
    except RayError:
        return ""
    return found["Address"]["NodeID"] if found.get("Pid") else ""


def _node_here(_: Any) -> str:
    return ray.get_runtime_context().get_node_id()
