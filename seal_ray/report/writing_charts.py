"""How long and how varied the policy's texts are, version by version, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from seal_ray.record.variety import ORDERS
from seal_ray.report.svg import SMALL, Axis, Drawing, apart, ticks
from seal_ray.report.text_stats import Writing
from seal_ray.report.words import percent


def lengths(found: Sequence[Writing]) -> Markup:
    """Mean length by version of the policy."""
    series = [("tokens", "main", [w.tokens for w in found])]
    return _trend("length", "Mean length of a self-edit, in tokens", found, series, lambda v: f"{v:,.0f}")


def variety(found: Sequence[Writing]) -> Markup:
    """Share of n-grams that are new, by version of the policy."""
    look = {1: "soft", 2: "control", 3: "main"}
    series = [(name, look[n], [w.distinct[n] for w in found]) for n, name in ORDERS.items()]
    return _trend("variety", "Share of words, pairs and triples of words that are new", found, series, percent)


Series = tuple[str, str, list[float]]
"""name, class, values by version"""


def _trend(
    name: str, title: str, found: Sequence[Writing], series: Sequence[Series], say: Callable[[float], str]
) -> Markup:
    left, right, top, bottom = 44, SMALL - 64, 12, 160
    marks = ticks(0, max(1e-6, *(value for _, _, values in series for value in values)), 4)
    x = Axis(0, max(1, len(found) - 1), left + 16, right - 16)
    y = Axis(0, marks[-1], bottom, top)
    said = "; ".join(f"{label}: {', '.join(say(v) for v in values)}" for label, _, values in series)
    pen = Drawing(name, SMALL, 190, title, said)
    pen.scale(y, marks, left, right, shares=say is percent)
    for i in range(0, len(found), -(-len(found) // 8)):
        pen.text(x(i), bottom + 18, str(found[i].policy), "tick", "middle")
    places = apart([y(values[-1]) for _, _, values in series], 15, top, bottom)
    for (label, class_, values), place in zip(series, places, strict=True):
        pen.path([(x(i), y(v)) for i, v in enumerate(values)], f"{class_}-line")
        for i, value in enumerate(values):
            tip = f"policy {found[i].policy}, {label}: {say(value)}"
            pen.add("circle", tip=tip, cx=x(i), cy=y(value), r=3.2, class_=f"{class_}-dot")
        pen.text(right + 8, place + 4, label, f"{class_}-label")
    return pen.markup("chart small")
