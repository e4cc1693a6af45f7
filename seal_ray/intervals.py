"""Intervals of time, as pairs of start and end."""

from __future__ import annotations

from collections.abc import Iterable

Stretch = tuple[float, float]


def joined(stretches: Iterable[Stretch], gap: float = 0.0) -> list[Stretch]:
    """The intervals in order of start, with those that have at most `gap` between them made one."""
    whole: list[Stretch] = []
    for start, end in sorted(stretches):
        if whole and start <= whole[-1][1] + gap:
            whole[-1] = whole[-1][0], max(whole[-1][1], end)
        else:
            whole.append((start, end))
    return whole


def length(stretches: Iterable[Stretch]) -> float:
    """The total length of intervals, with overlaps counted once."""
    return sum((end - start for start, end in joined(stretches)), 0.0)
