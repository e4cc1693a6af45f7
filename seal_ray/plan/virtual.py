"""An event loop in which waiting takes no time: the clock goes straight to the next thing that happens.

What runs in it is ordinary asyncio, and the same each time: nothing is left to threads, whose work is done on the spot.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Everybody waits, and nothing is left that could happen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Seconds pass on its own clock, which begins at 0."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Leaping(self._leap))

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def _leap(self, seconds: float) -> None:
        # Where a wait is smaller than the clock can count, it is the smallest that it can.
        self._now = max(self._now + seconds, math.nextafter(self._now, math.inf))


class _Leaping(selectors.DefaultSelector):
    """Moves the loop's clock on where a real selector would wait."""

    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("every task waits for another")
        if timeout > 0:
            self._leap(timeout)
        return super().select(0)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run this to its end, in no more time than its own computing takes."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
