"""A pool does less for a while when a machine is short of memory, and says so once."""

from __future__ import annotations

import asyncio

import pytest

from seal_ray.workers import shortage
from seal_ray.workers.shortage import Shortage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(shortage.time, "monotonic", lambda: now[0])
    return now


def test_each_worker_that_is_ended_leaves_fewer_and_then_the_last_one_less_to_hold(clock: list[float]) -> None:
    short = Shortage("trainer")
    allowed = []
    for up in (3, 2, 1, 0, 0):
        assert short.struck(up, "memory") == ""
        allowed.append((short.workers, short.share))
    assert allowed == [(3, 1), (2, 1), (1, 1), (1, 0.5), (1, 0.25)]


def test_it_comes_back_in_calm_minutes_and_is_said_once_each_time(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    short = Shortage("trainer")
    for _ in range(3):
        short.struck(0, "95 % used")
    assert len(caplog.messages) == 1
    assert "95 % used" in caplog.messages[0]
    seen = []
    for _ in range(6):
        assert not short.eased(4)
        clock[0] += 60
        short.eased(4)
        seen.append((min(short.workers, 4), short.share))
    assert seen == [(1, 0.5), (1, 1), (2, 1), (4, 1), (4, 1), (4, 1)]
    short.struck(3, "95 % used")
    assert len(caplog.messages) == 2


def test_each_further_one_that_is_ended_is_waited_for_twice_as_long_before_the_next_is_started(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(shortage.asyncio, "sleep", sleep)
    short = Shortage("trainer", pause_seconds=1.0)
    asyncio.run(short.pause())
    for _ in range(7):
        short.struck(0, "memory")
        asyncio.run(short.pause())
    short.answered()
    asyncio.run(short.pause())
    assert slept == [1, 2, 4, 8, 16, 30, 30]


def test_what_does_not_get_better_ends_in_advice_and_what_is_answered_between_puts_it_off(clock: list[float]) -> None:
    short = Shortage("trainer")
    for kill in range(12):
        clock[0] += 60
        assert short.struck(0, "95 % used") == ""
        if kill % 4 == 3:
            short.answered()
    for _ in range(5):
        clock[0] += 60
        assert short.struck(0, "95 % used") == ""
    clock[0] += 60
    advice = short.struck(0, "95 % used")
    assert "6 times in 300 s" in advice
    assert "95 % used" in advice
    assert "workers.slots" in advice
    assert "\n" not in advice
