"""The update on several trainers: each works out its part of every step's gradient, and all take the same step.

Only the adapter's gradients travel, from trainer to trainer through the object store. When a trainer is lost, the step
is done again by those that are left, from the last one that any of them has finished.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

from ray.exceptions import ObjectLostError, RayTaskError

from seal_ray.types import FinetuneSpec
from seal_ray.workers.errors import WorkerLost, update_failed
from seal_ray.workers.failures import survivable, unwrap
from seal_ray.workers.pool import Member, Pool
from seal_ray.workers.trainer import UpdateResult
from seal_ray.workers.watched import OnSteps, untold

logger = logging.getLogger(__name__)


class _NobodyLeft(Exception):
    """Every trainer of an update was lost."""


async def update_together(
    pool: Pool, most: int, finetune: FinetuneSpec, on_steps: OnSteps = untold
) -> UpdateResult | None:
    """Train on the trainers that are up, at most so many; None when all were lost, and nothing is left of it."""
    async with pool.held(most) as members:
        try:
            return await ReplicaGroup(pool, members).update(finetune, on_steps)
        except _NobodyLeft:
            logger.warning("update: every trainer was lost; it begins again")
            return None


class ReplicaGroup:
    def __init__(self, pool: Pool, members: Sequence[Member]) -> None:
        self._pool, self._members = pool, list(members)
        self._losses: list[float] = []
        self._steps = 0

    async def update(self, finetune: FinetuneSpec, on_steps: OnSteps = untold) -> UpdateResult:
        while (joined := await self._all("join_update", finetune)) is None:
            continue
        self._steps = joined[0]
        step, gradients = 0, list[Any]()
        while True:
            if step < self._steps:
                found = await self._advance(step, gradients)
                if found is not None:
                    step, gradients = step + 1, found
                    on_steps(step)
                    continue
            else:
                first = self._members[0]
                finished = await self._gather([(first, "finish_update", first.handle.finish_update.remote(*gradients))])
                if finished is not None:
                    return replace(finished[0], losses=tuple(self._losses))
            step, gradients = await self._regroup(), []

    async def _advance(self, step: int, gradients: Sequence[Any]) -> list[Any] | None:
        """Take the step before along its gradients, and work out those of this one; None when a trainer was lost."""
        parts = [
            member.handle.in_update.options(num_returns=2).remote("advance", part, len(self._members), *gradients)
            for part, member in enumerate(self._members)
        ]
        losses = await self._gather([(m, "in_update", loss) for m, (loss, _) in zip(self._members, parts, strict=True)])
        if losses is None:
            return None
        self._losses[step:] = [sum(losses)]
        if not math.isfinite(self._losses[step]):
            raise update_failed(f"the loss is not finite at step {step}")
        return [gradient for _, gradient in parts]

    async def _regroup(self) -> int:
        """Bring those that are left to the last step that any of them has finished; which one that is."""
        while True:
            done = await self._all("in_update", "standing")
            if done is None:
                continue
            last = max(done)
            state = self._members[done.index(last)].handle.in_update.remote("state")
            behind = [member for member, step in zip(self._members, done, strict=True) if step < last]
            restored = [(m, "in_update", m.handle.in_update.remote("restore", state)) for m in behind]
            if await self._gather(restored) is not None:
                logger.warning(
                    "update: a trainer was lost; step %d of %d is done again by the %d left",
                    *(min(last + 1, self._steps), self._steps, len(self._members)),
                )
                return last

    async def _all(self, method: str, *args: Any) -> list[Any] | None:
        return await self._gather([(m, method, getattr(m.handle, method).remote(*args)) for m in self._members])

    async def _gather(self, calls: Sequence[tuple[Member, str, Awaitable[Any]]]) -> list[Any] | None:
        """Each member's answer; None when some were lost, who are then left out."""
        answers = await asyncio.gather(
            *(member.answer(kind, call) for member, kind, call in calls), return_exceptions=True
        )
        failed = False
        for (member, _, _), error in zip(calls, answers, strict=True):
            if isinstance(error, BaseException):
                if not survivable(error):
                    raise unwrap(error)
                failed = True
                if not _of_another(error):
                    self._members.remove(member)
                    self._pool.lose(member, error)
        if not self._members:
            raise _NobodyLeft
        return None if failed else answers


def _of_another(error: BaseException) -> bool:
    """Whether it is only that what a lost trainer had made could not be fetched."""
    from_ray = isinstance(error, RayTaskError) and not isinstance(error.cause, WorkerLost)
    return from_ray or isinstance(error, ObjectLostError)
