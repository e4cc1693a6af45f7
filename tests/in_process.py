"""Runs in one process, whose work is counted: for tests of what the driver decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import ClassVar, TypeVar

from seal_ray.workers.in_process import InProcessCluster

T = TypeVar("T")


class CountingCluster(InProcessCluster):
    """Counts each kind of work that was really done, over all runs since it was last cleared."""

    done: ClassVar[Counter[str]] = Counter()

    async def _timed(self, what: str, work: Awaitable[T]) -> T:
        self.done[what] += 1
        return await super()._timed(what, work)
