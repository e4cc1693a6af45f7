"""How far an update is, told while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

OnSteps = Callable[[int], None]
"""Told how many steps of an update are done, now and then; fewer than before where some are done again."""
_LOOK = 2.0
"""Seconds between two looks, and that one may take."""
T = TypeVar("T")


def untold(_: int) -> None:
    """Where nobody wants to know."""


async def watched(work: Awaitable[T], look: Callable[[], Awaitable[int]], on_steps: OnSteps) -> T:
    """The result of the work. Until it is there, `look` is asked now and then how many steps are done."""
    looking = asyncio.create_task(_tell(look, on_steps))
    try:
        return await work
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _tell(look: Callable[[], Awaitable[int]], on_steps: OnSteps) -> None:
    while True:
        await asyncio.sleep(_LOOK)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                on_steps(await look())
