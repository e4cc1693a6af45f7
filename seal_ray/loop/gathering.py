"""Many things at once, of which one may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any


async def all_of(work: Iterable[Awaitable[Any]]) -> list[Any]:
    """Their results in order; when one fails, the others are cancelled and its error raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def looked_at(task: asyncio.Task[None]) -> None:
    """Take note of how a task ended: nobody waits for it where a run is stopped, and asyncio prints what none saw."""
    if not task.cancelled():
        task.exception()
