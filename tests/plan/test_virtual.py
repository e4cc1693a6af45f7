"""Virtual time: what would wait does not, and happens in the same order each time."""

from __future__ import annotations

import asyncio
import time

import pytest

from seal_ray.plan.virtual import Deadlock, run_virtually


def test_hours_pass_at_once_and_in_order() -> None:
    said: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        said.append((name, asyncio.get_running_loop().time()))

    async def all_of_them() -> None:
        await asyncio.gather(wait("day", 86_400.0), wait("second", 1.0), wait("hour", 3600.0))

    begun = time.monotonic()
    run_virtually(all_of_them())
    assert said == [("second", 1.0), ("hour", 3600.0), ("day", pytest.approx(86_400.0))]
    assert time.monotonic() - begun < 10


def test_what_is_given_to_a_thread_is_done_on_the_spot_and_its_error_raised() -> None:
    async def both() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 41 + 1)

    assert run_virtually(both()) == 42


def test_where_everybody_waits_for_another_it_is_said() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="every task waits for another"):
        run_virtually(forever())
