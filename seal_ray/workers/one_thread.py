"""A thread of its own for what a model does.

The C library gives each thread that allocates its own share of the memory, and keeps there what is freed. Passes made
by a pool of threads in turn keep as many times the memory of one pass as there are threads: 16 GB where one thread's
passes take 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OneThread:
    """Calls are made in their order, one at a time, all by the same thread."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the work comes to, made by the thread."""
        return await asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))

    def close(self) -> None:
        """What has not begun is never done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
