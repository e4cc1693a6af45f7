"""The page's pictures as inline SVG; the large ones are drawn for a wide and for a narrow screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from seal_ray.report.data import Arm, Run
from seal_ray.report.rounds import Round
from seal_ray.report.svg import Axis, Drawing, apart, ticks
from seal_ray.report.text_stats import ORDERS, Writing
from seal_ray.report.timeline import KINDS, Timeline

WIDE, NARROW, SMALL = 880, 380, 380
DOING = {"sample": "writing self-edits", "trial": "trying them", "update": "updating the policy"}
_BINS = 24


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
    marks = ticks(min(0.0, *(a.measured.low for a in arms)), max(0.1, *(a.measured.high for a in arms)), 6)
    last = max(1, *(arm.round or 0 for arm in arms))
    x, y = Axis(0, last, left + pad, right - pad), Axis(marks[0], marks[-1], bottom, top)
    said = "; ".join(_said(arm) for arm in arms)
    pen = Drawing(name, width, height, "Held-out accuracy by round, with 95% intervals", said)
    for mark in marks:
        pen.line(left, y(mark), right, y(mark), "rule")
        pen.text(left - 8, y(mark) + 4, f"{100 * mark:.0f}%", "tick", "end")
    step = -(-(last + 1) // (16 if wide else 7))
    for r in range(0, last + 1, step):
        label = "untrained" if r == 0 else f"round {r}" if last < (9 if wide else 4) else str(r)
        pen.text(x(r), bottom + 22, label, "tick", "middle")
    for arm in run.baselines:
        low, high, middle = y(arm.measured.low), y(arm.measured.high), y(arm.measured.accuracy)
        pen.add("rect", tip=_said(arm), x=left, y=high, width=right - left, height=low - high, class_="band")
        pen.line(left, middle, right, middle, "baseline")
    _series(pen, run.control, x, y, "control", 9 if run.policies else 0)
    _series(pen, run.policies, x, y, "main", 0, 9 if wide else 5, "end" if run.control else "middle")
    _labels(pen, run, y, left, right, wide)
    if run.control and not wide:
        end = run.control[-1]
        pen.text(x(end.round or 0) + 18, y(end.measured.low) + 15, "control", "control-label halo", "end")
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
        said = f"{_clipped(label, 21)} {percent(arm.measured.accuracy)}"
        pen.text(at, place + 4, said, class_ if wide else f"{class_} halo")


def _series(
    pen: Drawing, arms: Sequence[Arm], x: Axis, y: Axis, class_: str, shift: float, most: int = 0, side: str = ""
) -> None:
    """Points joined by a line, each with its interval, and its value where there are no more than `most`."""
    if not arms:
        return
    pen.path([(x(arm.round or 0) + shift, y(arm.measured.accuracy)) for arm in arms], f"{class_}-line")
    for arm in arms:
        at, low, high = x(arm.round or 0) + shift, y(arm.measured.low), y(arm.measured.high)
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
    return f"{arm.name}: {percent(m.accuracy)} ({percent(m.low)} to {percent(m.high)}, {m.n} tasks{failed}{doubt})"


def histogram(round_: Round) -> Markup:
    """Mean rewards of a round's self-edits, those that were kept in the accent's colour."""
    left, right, top, bottom = 34, SMALL - 16, 12, 156
    low = min(0.0, *(c.reward for c in round_.candidates))
    high = max(1.0, *(c.reward for c in round_.candidates))
    counts = [[0, 0] for _ in range(_BINS)]  # not kept, kept
    for c in round_.candidates:
        counts[min(int((c.reward - low) / (high - low) * _BINS), _BINS - 1)][c.kept] += 1
    marks = ticks(0, max(3, *(sum(pair) for pair in counts)), 3)
    kept = sum(c.kept for c in round_.candidates)
    pen = Drawing(
        f"rewards-{round_.number}",
        SMALL,
        190,
        f"Rewards of the self-edits of round {round_.number}",
        f"{len(round_.candidates)} self-edits by mean reward, {percent(low)} to {percent(high)}; {kept} were kept",
    )
    x, y = Axis(0, _BINS, left, right), Axis(0, marks[-1], bottom, top)
    for mark in marks:
        pen.line(left, y(mark), right, y(mark), "rule")
        pen.text(left - 6, y(mark) + 4, f"{mark:g}", "tick", "end")
    for i, (others, chosen) in enumerate(counts):
        where = f"{percent(low + i * (high - low) / _BINS)} to {percent(low + (i + 1) * (high - low) / _BINS)}"
        for count, under, class_, word in ((chosen, 0, "kept", "kept"), (others, chosen, "other", "not kept")):
            if count:
                tip, roof = f"{where}: {count} {word}", y(under + count)
                pen.add(
                    "rect", tip=tip, x=x(i) + 1, y=roof, width=x(1) - x(0) - 2, height=y(under) - roof, class_=class_
                )
    for mark in ticks(low, high, 5):
        if low <= mark <= high:
            pen.text(Axis(low, high, left, right)(mark), bottom + 18, f"{100 * mark:.0f}%", "tick", "middle")
    return pen.markup("chart small")


def workers(found: Timeline) -> Markup:
    """A lane per worker with what it had to do, and above them the trials that ended."""
    return both(lambda name, wide: _workers(found, name, wide), "timeline")


def _workers(found: Timeline, name: str, wide: bool) -> Drawing:
    strip, lane = 54, 26 if wide else 38
    width, left = (WIDE, 150) if wide else (NARROW, 4)
    right, floor = width - 4, strip + 18 + lane * len(found.lanes)
    label_x, anchor = (left - 10, "end") if wide else (left, "start")
    said = "; ".join(f"{row.worker} had no work {percent(row.idle)} of the time" for row in found.lanes)
    pen = Drawing(name, width, floor + 34, "What each worker had to do over time", said)
    x = Axis(0, found.seconds, left, right)
    if most := max(found.ended):
        each, slot = found.seconds / len(found.ended), (right - left) / len(found.ended)
        pen.text(label_x, strip - 6 if wide else 10, "trials ended", "tick", anchor)
        pen.text(right, 10, f"up to {most / each:,.{1 if most / each < 100 else 0}f} a second", "tick", "end")
        for i, count in enumerate(found.ended):
            height = (strip - 18) * count / most
            if count:
                at = left + i * slot
                pen.add("rect", x=at, y=strip - height, width=slot * 0.8, height=height, class_="ended")
        pen.line(left, strip, right, strip, "rule")
    for i, row in enumerate(found.lanes):
        y = strip + 16 + lane * i
        label = _clipped(row.worker, 20)
        pen.text(label_x, y + (16 if wide else 10), label, "tick", anchor)
        y += 4 if wide else 14
        pen.add("rect", x=left, y=y, width=right - left, height=16, class_="lane")
        for bar in row.bars:
            kind = bar.what if bar.what in KINDS else "other"
            tip = f"{row.worker}: {DOING.get(bar.what, bar.what)}, {duration(bar.start)} to {duration(bar.end)}"
            length = max(x(bar.end) - x(bar.start), 0.6)
            pen.add("rect", tip=tip, x=x(bar.start), y=y, width=length, height=16, class_=f"kind-{kind}")
    for pause in found.pauses:
        tip = f"nothing under way for {duration(pause.seconds)}"
        pen.add("line", tip=tip, x1=x(pause.at), y1=strip, x2=x(pause.at), y2=floor, class_="pause")
    for mark, side in ((0.0, "start"), (found.seconds / 2, "middle"), (found.seconds, "end")):
        pen.text(x(mark), floor + 22, duration(mark) if mark else "0", "tick", side)
    return pen


def lengths(found: Sequence[Writing]) -> Markup:
    """Mean length by version of the policy."""
    series = [("tokens", "main", [w.tokens for w in found])]
    return _trend("length", "Mean length of a self-edit, in tokens", found, series, lambda v: f"{v:,.0f}")


def variety(found: Sequence[Writing]) -> Markup:
    """Share of n-grams that are new, by version of the policy."""
    look = {1: ("words", "soft"), 2: ("pairs", "control"), 3: ("triples", "main")}
    series = [(*look[n], [w.distinct[n] for w in found]) for n in ORDERS]
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
    for mark in marks:
        pen.line(left, y(mark), right, y(mark), "rule")
        pen.text(left - 6, y(mark) + 4, f"{100 * mark:.0f}%" if say is percent else f"{mark:g}", "tick", "end")
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


def _clipped(label: str, limit: int) -> str:
    return label if len(label) <= limit else f"{label[: limit - 1]}…"
