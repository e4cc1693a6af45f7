"""Runs in one process, whose work is counted: for tests of what the driver decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import ClassVar, TypeVar

import pytest

from seal_ray.config import Config
from seal_ray.loop.run import run
from seal_ray.workers.in_process import InProcessCluster

T = TypeVar("T")


class CountingCluster(InProcessCluster):
    """Counts each kind of work that was really done, over all runs since it was last cleared."""

    done: ClassVar[Counter[str]] = Counter()

    async def _timed(self, what: str, work: Awaitable[T]) -> T:
        self.done[what] += 1
        return await super()._timed(what, work)


def run_counted(config: Config) -> None:
    """A run whose work is counted, for a fixture that outlives the test that first asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", CountingCluster)
        run(config)
