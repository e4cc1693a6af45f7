"""Figures and times as the commands of this room say them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len

from seal_ray.plain import counted, visible
from seal_ray.record.summary import FEWEST, Interval, cells

NOTHING = "–"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, one each, whose cells stand below each other; nothing in them that a terminal would obey."""
    shown = [[visible(" ".join(text.split())) for text in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(map(_padded, row, widths)).rstrip() for row in shown]


def fitted(rows: Sequence[Sequence[str]], spare: Sequence[str], width: int | None) -> list[str]:
    """Such lines, the first of titles, for a terminal that wide; without one, all as wide as they are.

    Titles to spare, which matter less from one to the next, are left out where they find no room, and named below.
    A last column without a title is a remark, and may go beyond the edge.
    """
    if width is None:
        return columns(rows)
    titles = list(rows[0])

    def at(names: Sequence[str]) -> list[str]:
        return columns([[text for title, text in zip(titles, row, strict=True) if title in names] for row in rows])

    filled = [title for title, *texts in zip(*rows, strict=True) if title and any(texts)]
    shown = [title for title in filled if title not in spare]
    for title in spare:
        if title in filled and max(map(cell_len, at([*shown, title]))) <= width:
            shown.append(title)
    left_out = [title for title in filled if title not in shown]
    return [*at([*shown, ""]), *([f"no room here for: {', '.join(left_out)}"] if left_out else [])]


def percent(value: float | None) -> str:
    """A share; nothing where there is none."""
    return NOTHING if value is None else f"{value:.1%}"


def accuracy(measured: Interval | None) -> str:
    """Mean and interval as every table says them; where there are too few tasks for one, how many there are."""
    if measured is None:
        return NOTHING
    mean, between, *_ = cells(measured)
    return mean if measured.void else f"{mean} ({between if measured.n >= FEWEST else counted(measured.n, 'task')})"


def when(moment: float | None) -> str:
    """A time of this machine's clock, to the minute."""
    return NOTHING if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def size(count: int) -> str:
    """Bytes with the unit that fits them."""
    number, units = float(count), ["B", "kB", "MB", "GB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.0f} {units[0]}" if units[0] == "B" or number >= 100 else f"{number:.1f} {units[0]}"


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))
