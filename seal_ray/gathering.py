"""Many things at once, of which one may fail; and the loop that they are done in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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


def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do this, and return when it is done: also where a loop is running already, as a notebook has one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="loop") as beside:
        return beside.submit(copy_context().run, asyncio.run, work).result()


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
