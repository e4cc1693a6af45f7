"""What workers had to do over time, as a picture: inline SVG, drawn for a wide and for a narrow screen."""

from __future__ import annotations

from markupsafe import Markup

from seal_ray.report.charts import NARROW, WIDE, both
from seal_ray.report.svg import Axis, Drawing, clipped
from seal_ray.report.timeline import KINDS, Timeline
from seal_ray.report.words import duration, percent

DOING = {"sample": "writing self-edits", "trial": "trying them", "update": "updating the policy"}


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
        label = clipped(row.worker, 20)
        pen.text(label_x, y + (16 if wide else 10), label, "tick", anchor)
        y += 4 if wide else 14
        pen.add("rect", x=left, y=y, width=right - left, height=16, class_="lane")
        for start, end in row.gaps:
            tip = f"{row.worker}: no work for {duration(end - start)}, from {duration(start)} on"
            pen.add("rect", tip=tip, x=x(start), y=y, width=x(end) - x(start), height=16, class_="idle")
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
