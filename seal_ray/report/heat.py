"""What was known of each passage after so many, as a map: the way in which learning one passage costs another."""

from __future__ import annotations

from markupsafe import Markup

from seal_ray.report.svg import SMALL, Axis, Drawing
from seal_ray.report.turns import Turn
from seal_ray.report.words import percent

_WRITTEN_OUT, _TALLEST, _LABELS = 8, 30.0, 10
_DARK = 0.55
"""From this share on a cell is so full that its figure is written in the page's colour."""


def heat(turn: Turn, number: int) -> Markup:
    """A row for each number of passages learnt, a column for each passage, and a line where learning had come to."""
    steps, count = turn.matrix, len(turn.matrix[0][1])
    left, top, right = 58, 22, SMALL - 2
    wide = (right - left) / count
    tall = min(_TALLEST, max(6.0, 260 / len(steps)))
    bottom = top + tall * len(steps)
    said = "; ".join(f"after {step}: {', '.join(map(percent, row))}" for step, row in steps[:: -(-len(steps) // 12)])
    pen = Drawing(f"turns-{number}", SMALL, bottom + 6, f"What {turn.way} knew of each passage after so many", said)
    x, y = Axis(0, count, left, right), Axis(0, len(steps), top, bottom)
    for passage in range(0, count, -(-count // _LABELS)):
        pen.text(x(passage + 0.5), top - 8, str(passage + 1), "tick", "middle")
    for at in range(0, len(steps), -(-len(steps) // _LABELS)):
        step = steps[at][0]
        pen.text(left - 8, y(at + 0.5) + 4, f"after {step}" if step else "before", "tick", "end")
    for at, (step, row) in enumerate(steps):
        for passage, share in enumerate(row):
            tip = f"after {step}, passage {passage + 1}: {percent(share)}"
            full, size = max(0.04, min(1.0, share)), (max(wide - 1, 0.5), max(tall - 1, 0.5))
            at_x, at_y = x(passage), y(at)
            pen.add("rect", tip=tip, x=at_x, y=at_y, width=size[0], height=size[1], class_="heat", fill_opacity=full)
            if count <= _WRITTEN_OUT:
                class_ = "on-heat" if share >= _DARK else "cell"
                pen.text(x(passage + 0.5), y(at + 0.5) + 4, f"{100 * share:.0f}", class_, "middle")
    edge = [
        point for at, (step, _) in enumerate(steps) for point in ((x(step) - 0.5, y(at)), (x(step) - 0.5, y(at + 1)))
    ]
    pen.path(edge, "learnt-edge")
    return pen.markup("chart small")
