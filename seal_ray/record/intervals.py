"""Intervals of time, as pairs of start and end."""

from __future__ import annotations

import time
from collections.abc import Iterable

Interval = tuple[float, float]


def clock() -> float:
    """Seconds, counted also while the machine sleeps; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_EPOCH = time.time() - clock()


def now() -> float:
    """Seconds since the epoch, as this process began with them: a clock that is set since stretches no interval."""
    return _EPOCH + clock()


def merge(intervals: Iterable[Interval], gap: float = 0.0) -> list[Interval]:
    """The intervals in order of start, with those that have at most `gap` between them made one."""
    whole: list[Interval] = []
    for start, end in sorted(intervals):
        if whole and start <= whole[-1][1] + gap:
            whole[-1] = whole[-1][0], max(whole[-1][1], end)
        else:
            whole.append((start, end))
    return whole


def total_length(intervals: Iterable[Interval]) -> float:
    """The total length of intervals, with overlaps counted once."""
    return sum((end - start for start, end in merge(intervals)), 0.0)
