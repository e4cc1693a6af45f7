"""Limits that only a process that stands still can pass: how long a busy machine takes says nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from ray._private.state import state as ray_state

from seal_ray.workers import members


class OnlyForTheStopped:
    """As `health.Limits`, and short, while the process is stopped; without end for one that goes on."""

    every = 0.2

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def _of(self, seconds: float) -> float:
        return seconds if self._stopped() else math.inf

    doubted = property(lambda self: self._of(0.6))
    told = property(lambda self: self._of(1.0))
    silent = first = property(lambda self: self._of(3.0))


def is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def given_up_when_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of this test's pools are soon given up when their process is stopped, and never otherwise."""
    hung = members.hung

    async def by_process(worker: Any, name: str, limits: Any, *more: Any) -> str:
        pid = ray_state.actor_table(worker.handle._ray_actor_id.hex())["Pid"]
        return await hung(worker, name, OnlyForTheStopped(lambda: is_stopped(pid)), *more)  # type: ignore[arg-type]

    monkeypatch.setattr(members, "hung", by_process)
