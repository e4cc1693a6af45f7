"""A round's self-edits and its update as pictures: rewards, what goes with them, and the loss step by step."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from seal_ray.report.points import Point
from seal_ray.report.rounds import Round
from seal_ray.report.svg import SMALL, Axis, Drawing, number, ticks
from seal_ray.report.words import percent

_BINS = 24
_STEPS = 300
"""Points of a curve of losses; of more steps, each is a mean."""


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
    pen.scale(y, marks, left, right)
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


def scatter(name: str, title: str, axis: str, found: Sequence[Point]) -> Markup:
    """A dot for each self-edit, those that were kept in the accent's colour; one path a colour keeps many small."""
    left, right, top, bottom = 44, SMALL - 16, 12, 160
    pen = Drawing(name, SMALL, 206, title, f"{len(found)} self-edits; reward up, {axis} to the right")
    least, most = min(p.at for p in found), max(p.at for p in found)
    across = ticks(least, max(most, 1.2 * least, least + 1e-3), 5)  # of equal ones too, the figures can be told apart
    up = ticks(min(0.0, *(p.reward for p in found)), max(0.1, *(p.reward for p in found)), 4)
    x, y = Axis(across[0], across[-1], left + 6, right), Axis(up[0], up[-1], bottom, top)
    pen.scale(y, up, left, right, shares=True)
    for mark in across:
        pen.text(x(mark), bottom + 18, f"{mark:g}", "tick", "middle")
    pen.text((left + right) / 2, bottom + 38, axis, "tick", "middle")
    for kept, class_ in ((False, "dots-other"), (True, "dots-kept")):
        dots = "".join(f"M{number(x(p.at))} {number(y(p.reward))}h0" for p in found if p.kept == kept)
        if dots:
            pen.add("path", d=dots, class_=class_)
    return pen.markup("chart small")


def losses(round_: Round) -> Markup:
    """The loss of every step of the update that ended a round."""
    steps = round_.policy.losses if round_.policy else ()
    each = -(-len(steps) // _STEPS)
    values = [fmean(steps[i : i + each]) for i in range(0, len(steps), each)]
    left, right, top, bottom = 44, SMALL - 16, 12, 160
    marks = ticks(min(0.0, *values), max(1e-6, *values), 4)
    x, y = Axis(1, max(2, len(steps)), left + 6, right), Axis(marks[0], marks[-1], bottom, top)
    said = f"from {values[0]:.3f} to {values[-1]:.3f} in {len(steps)} steps"
    pen = Drawing(f"losses-{round_.number}", SMALL, 190, f"Loss of the update of round {round_.number}", said)
    pen.scale(y, marks, left, right)
    for step, side in ((1, "start"), (len(steps), "end")):
        pen.text(x(step), bottom + 18, f"step {step}", "tick", side)
    pen.path([(x(1 + i * each), y(value)) for i, value in enumerate(values)], "update-line")
    return pen.markup("chart small")
