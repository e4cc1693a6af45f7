"""Who gets the next free place."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from seal_ray.workers.places import Places


def served(lengths: list[int], depth: int = 1) -> list[int]:
    """The calls, by their place among those that came, in the order in which one worker was given them."""

    async def main() -> list[int]:
        worker: Any = SimpleNamespace(load=0, doubted=False, idle_since=0.0)
        places, order = Places([worker], lambda: depth), list[int]()

        async def call(number: int, length: int) -> None:
            found = await places.take(1, length)
            order.append(number)
            await asyncio.sleep(0)  # the others come to wait before this one is done
            places.give_back(found, 1)

        held = await places.take(depth)
        calls = [asyncio.create_task(call(*each)) for each in enumerate(lengths)]
        while places.waiting < len(lengths):
            await asyncio.sleep(0)
        places.give_back(held, depth)
        await asyncio.gather(*calls)
        return order

    return asyncio.run(main())


def test_the_longest_of_the_calls_that_wait_is_served_first() -> None:
    assert served([3, 40, 7, 40, 1]) == [1, 3, 2, 0, 4]


def test_calls_of_which_nobody_says_how_long_they_last_are_served_as_they_came() -> None:
    assert served([0] * 6, depth=2) == list(range(6))
