"""Figures as the page says them."""

from __future__ import annotations

from seal_ray.record.summary import FEWEST, Interval

NOTHING = "–"


def percent(value: float | None) -> str:
    """A share."""
    return NOTHING if value is None else f"{100 * value:.1f}%"


def points(value: float | None) -> str:
    """A difference of two shares, in points."""
    return NOTHING if value is None else f"{100 * value:+.1f}".replace("-", "−")


def number(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def between(measured: Interval) -> str:
    """The ends of an interval; nothing where there are too few tasks for one."""
    return NOTHING if measured.n < FEWEST else f"{100 * measured.low:.1f} to {100 * measured.high:.1f}%"


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
