"""A small SVG pen: every attribute and text goes through escaping, colours come from the page's classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

SMALL = 380
"""The width of a picture of which several stand side by side."""


@dataclass(frozen=True)
class Axis:
    """Maps low..high to start..end on the canvas."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / ((self.high - self.low) or 1.0)


class Drawing:
    """Elements in the order they are drawn, on a canvas that scales with the page."""

    def __init__(self, name: str, width: float, height: float, title: str, description: str) -> None:
        self.name, self.width, self.height = name, width, height
        self._head = Markup('<title id="{0}-t">{1}</title><desc id="{0}-d">{2}</desc>').format(name, title, description)
        self._parts: list[Markup] = []

    def add(self, tag: str, text: str = "", tip: str = "", **attributes: str | float) -> None:
        """`tip` appears under the pointer. `class_` and `text_anchor` stand for `class` and `text-anchor`."""
        given = Markup("").join(
            Markup(' {}="{}"').format(
                key.rstrip("_").replace("_", "-"), value if isinstance(value, str) else number(value)
            )
            for key, value in attributes.items()
        )
        inside = escape(text) + (Markup("<title>{}</title>").format(tip) if tip else Markup(""))
        self._parts.append(Markup("<{0}{1}>{2}</{0}>").format(tag, given, inside))

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)

    def text(self, x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> None:
        self.add("text", text, x=x, y=y, class_=class_, text_anchor=anchor)

    def scale(
        self, y: Axis, marks: Sequence[float], left: float, right: float, gap: float = 6, shares: bool = False
    ) -> None:
        """A line across at each mark of an upright axis, with its figure to the left; shares are given in per cent."""
        for mark in marks:
            self.line(left, y(mark), right, y(mark), "rule")
            self.text(left - gap, y(mark) + 4, f"{100 * mark:.0f}%" if shares else f"{mark:g}", "tick", "end")

    def path(self, points: Sequence[tuple[float, float]], class_: str) -> None:
        steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        self.add("path", d=f"M{steps}", class_=class_)

    def markup(self, class_: str) -> Markup:
        return Markup(
            '<svg class="{1}" id="{0}" viewBox="0 0 {2} {3}" role="img" aria-labelledby="{0}-t {0}-d" '
            'xmlns="http://www.w3.org/2000/svg">{4}{5}</svg>'
        ).format(self.name, class_, number(self.width), number(self.height), self._head, Markup("").join(self._parts))


def number(value: float) -> str:
    """Short, and a number whatever comes in."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round values that span low to high."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(step * m for m in (1, 2, 2.5, 5, 10) if (high - low) / (step * m) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, at least `gap` from each other, in the same order, within low to high."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: list[float] = []
    for i in order:
        placed.append(max(wanted[i], placed[-1] + gap if placed else low))
    ceiling = high
    for k in range(len(placed) - 1, -1, -1):
        placed[k] = min(placed[k], ceiling)
        ceiling = placed[k] - gap
    found = [0.0] * len(wanted)
    for i, position in zip(order, placed, strict=True):
        found[i] = position
    return found


def clipped(label: str, limit: int) -> str:
    return label if len(label) <= limit else f"{label[: limit - 1]}…"
