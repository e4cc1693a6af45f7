"""Many things at once, of which one may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
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


class Once:
    """Does each thing once at a time: whoever wants what is under way waits for that, and stops nothing by leaving."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def do(self, key: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """This, unless it is being done."""
        if key not in self._under_way:
            self._under_way[key] = doing = asyncio.create_task(work())
            doing.add_done_callback(_looked_at)
        await asyncio.shield(self._under_way[key])
        self._under_way.pop(key, None)


def _looked_at(task: asyncio.Task[None]) -> None:
    """Take note of how a task ended: nobody waits for it where a run is stopped, and asyncio prints what none saw."""
    if not task.cancelled():
        task.exception()
