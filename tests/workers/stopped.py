"""Limits that only a process that stands still can pass: how long a busy machine takes says nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from ray._private.state import state as ray_state

from seal_ray.workers import members


class OnlyForTheStopped:
    """As `health.Limits`, and short, while the process is stopped; without end for one that goes on."""

    every = 0.2

    def __init__(self, stopped: Callable[[], bool], given_up: Callable[[], bool] = lambda: True) -> None:
        self._stopped, self._given_up = stopped, given_up

    def _of(self, seconds: float) -> float:
        return seconds if self._stopped() else math.inf

    doubted = property(lambda self: self._of(0.6))
    told = property(lambda self: self._of(1.0))
    silent = first = property(lambda self: self._of(3.0) if self._given_up() else math.inf)


@dataclass
class Patience:
    """What a test may turn: while it `waits`, a stopped worker is doubted and told of, and not given up."""

    waits: bool = False


def is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def given_up_when_stopped(monkeypatch: pytest.MonkeyPatch) -> Patience:
    """Workers of this test's pools are soon given up when their process is stopped, and never otherwise."""
    hung, patience = members.hung, Patience()

    async def by_process(worker: Any, name: str, limits: Any, *more: Any) -> str:
        pid = ray_state.actor_table(worker.handle._ray_actor_id.hex())["Pid"]
        limits: Any = OnlyForTheStopped(lambda: is_stopped(pid), lambda: not patience.waits)
        return await hung(worker, name, limits, *more)

    monkeypatch.setattr(members, "hung", by_process)
    return patience
