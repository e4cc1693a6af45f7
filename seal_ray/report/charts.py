"""Held-out accuracy as a picture: inline SVG, drawn for a wide and for a narrow screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from seal_ray.plain import counted
from seal_ray.report.arms import Arm
from seal_ray.report.data import Run
from seal_ray.report.svg import Axis, Drawing, apart, clipped, ticks
from seal_ray.report.words import between, percent

WIDE, NARROW = 880, 380


def both(draw: Callable[[str, bool], Drawing], name: str) -> Markup:
    """The wide drawing and the narrow one; the page's style shows the one that fits."""
    return draw(f"{name}-wide", True).markup("chart wide") + draw(f"{name}-narrow", False).markup("chart narrow")


def curve(run: Run) -> Markup:
    """A chart of held-out accuracy per round, the baselines as lines across, the control beside it."""
    return both(lambda name, wide: _curve(run, name, wide), "curve")


def _curve(run: Run, name: str, wide: bool) -> Drawing:
    arms = [*run.baselines, *run.policies, *run.control]
    width, height, left, right = (WIDE, 400, 46, WIDE - 205) if wide else (NARROW, 330, 42, NARROW - 6)
    top, bottom, pad = 18, height - 40, 56 if wide else 34
    marks = ticks(min(0.0, *(a.low for a in arms)), max(0.1, *(a.high for a in arms)), 6)
    last = max(arm.round or 0 for arm in arms)
    x, y = Axis(0, last or 1, left + pad, right - pad), Axis(marks[0], marks[-1], bottom, top)
    said = "; ".join(_said(arm) for arm in arms)
    pen = Drawing(name, width, height, "Held-out accuracy by round, with 95% intervals", said)
    pen.scale(y, marks, left, right, gap=8, shares=True)
    step = -(-(last + 1) // (16 if wide else 7))
    for r in range(0, last + 1, step) if run.policies or run.control else ():
        label = "untrained" if r == 0 else f"round {r}" if last < (9 if wide else 4) else str(r)
        pen.text(x(r), bottom + 22, label, "tick", "middle")
    for arm in run.baselines:
        low, high, middle = y(arm.low), y(arm.high), y(arm.measured.accuracy)
        pen.add("rect", tip=_said(arm), x=left, y=high, width=right - left, height=low - high, class_="band")
        pen.line(left, middle, right, middle, "baseline")
    _series(pen, run.control, x, y, "control", 9 if run.policies else 0)
    _series(pen, run.policies, x, y, "main", 0, 9 if wide else 5, "end" if run.control else "middle")
    _labels(pen, run, y, left, right, wide)
    if run.control and not wide:
        end = run.control[-1]
        pen.text(x(end.round or 0) + 18, y(end.low) + 15, "control", "control-label halo", "end")
    return pen


def _labels(pen: Drawing, run: Run, y: Axis, left: float, right: float, wide: bool) -> None:
    """Every line is named where it ends; on a narrow screen the baselines are named on their lines."""
    ends = [(arm, arm.name, "base-label") for arm in run.baselines]
    if wide:
        ends += [(arm, arm.name, "main-label") for arm in run.policies[-1:]]
        ends += [(arm, f"control ({run.control_rule})", "control-label") for arm in run.control[-1:]]
    rise = 0 if wide else 9
    places = apart([y(arm.measured.accuracy) - rise for arm, *_ in ends], 16, y.end, y.start - rise)
    for (arm, label, class_), place in zip(ends, places, strict=True):
        at = right + 12 if wide else left + 4
        said = f"{clipped(label, 21)} {percent(arm.measured.accuracy)}"
        pen.text(at, place + 4, said, class_ if wide else f"{class_} halo")


def _series(
    pen: Drawing, arms: Sequence[Arm], x: Axis, y: Axis, class_: str, shift: float, most: int = 0, side: str = ""
) -> None:
    """Points joined by a line, each with its interval, and its value where there are no more than `most`."""
    if not arms:
        return
    pen.path([(x(arm.round or 0) + shift, y(arm.measured.accuracy)) for arm in arms], f"{class_}-line")
    for arm in arms:
        at, low, high = x(arm.round or 0) + shift, y(arm.low), y(arm.high)
        if not arm.few:
            pen.line(at, low, at, high, f"{class_}-error")
            for end in (low, high):
                pen.line(at - 4, end, at + 4, end, f"{class_}-error")
        radius = 4.5 if class_ == "main" else 3.5
        pen.add("circle", tip=_said(arm), cx=at, cy=y(arm.measured.accuracy), r=radius, class_=f"{class_}-dot")
        if len(arms) <= most:
            pen.text(at + 5 * (side == "end"), high - 8, percent(arm.measured.accuracy), "value halo", side)


def _said(arm: Arm) -> str:
    m = arm.measured
    failed = f", {percent(m.failed)} of the trials failed" if m.failed else ""
    doubt = f", {m.doubt}" if m.doubt else ""
    span = "" if arm.few else f"{between(m)}, "
    return f"{arm.name}: {percent(m.accuracy)} ({span}{counted(m.n, 'task')}{failed}{doubt})"
