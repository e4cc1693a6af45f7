"""Methods of learning a text beside one another: what each came to by how many texts it had written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seal_ray.record.journal import Journal
from seal_ray.record.methods import by_method
from seal_ray.record.methods_table import called, is_held, notes
from seal_ray.report.svg import Axis, Drawing, apart, ticks
from seal_ray.report.words import percent


@dataclass(frozen=True)
class Measured:
    """A method with a number of texts; means over tasks."""

    method: str
    texts: float
    """0 for a method that has none written; a mean where a budget decided how many."""
    tasks: int
    accuracy: float
    interval: tuple[float, float] | None
    """None with too few tasks."""
    over_passage: tuple[float, float, float] | None
    """How much more than training on the passage alone, task by task, with its interval."""
    written: float
    """Tokens."""
    trained: float
    failed: float
    varied: float | None
    """The share of pairs of neighbouring words, in all texts of a task, that were not said before."""
    flops: float | None = None
    """Operations of training; None where the model's shape is not known here."""
    seconds: float = 0.0
    """Of a trial, on the machine that it was measured on."""
    in_picture: bool = True
    """Whether the picture has it: what a budget or one adapter for all tasks came to is in the table alone."""
    notes: tuple[str, ...] = ()
    """What the columns have no place for."""


def methods(journal: Journal, flops: int | None = None) -> tuple[Measured, ...]:
    """Every method that was measured, the fewest texts first; `flops` are of a token that is trained on."""
    return tuple(
        Measured(
            method=called(row),
            texts=row["texts"],
            tasks=row["tasks"],
            accuracy=row["accuracy"],
            interval=row.get("interval"),
            over_passage=row.get("over passage"),
            written=row["written"],
            trained=row["trained"],
            failed=row["failed"],
            varied=row.get("distinct pairs"),
            flops=row.get("flops"),
            seconds=row["seconds"],
            in_picture=not is_held(row) and not row.get("together"),
            notes=tuple(notes(row)),
        )
        for row in by_method([journal], [flops])
    )


def drawn(measured: Sequence[Measured], width: float = 880) -> Markup:
    """Accuracy by the number of texts, a line for each method that has them written, the others as lines across."""
    found = [each for each in measured if each.in_picture]
    numbers = sorted({each.texts for each in found if each.texts})
    left, right, top, bottom = 46.0, width - 215, 14.0, 340.0
    marks = ticks(0.0, max(0.1, *(each.accuracy for each in found)), 6)
    x = Axis(math.log(numbers[0]), math.log(numbers[-1]), left + 12, right - 12)
    y = Axis(marks[0], marks[-1], bottom, top)
    said = "; ".join(f"{each.method}, {each.texts} texts: {percent(each.accuracy)}" for each in found)
    pen = Drawing("methods", width, bottom + 40, "Accuracy by method and number of texts", said)
    pen.scale(y, marks, left, right, gap=8, shares=True)
    for texts in numbers:
        pen.text(x(math.log(texts)), bottom + 22, f"{texts} texts" if texts > 1 else "1 text", "tick", "middle")
    ends = []
    for name in dict.fromkeys(each.method for each in found):
        own = [each for each in found if each.method == name]
        points = [(x(math.log(each.texts)), y(each.accuracy)) for each in own if each.texts]
        height = y(own[-1].accuracy)
        pen.path(points or [(left, height), (right, height)], "main-line" if name == "seal" else "soft-line")
        for (at_x, at_y), each in zip(points, own, strict=False):
            pen.add("circle", tip=f"{name}, {each.texts}: {percent(each.accuracy)}", cx=at_x, cy=at_y, r=3.5,
                    class_="main-dot" if name == "seal" else "soft-dot")  # fmt: skip
        ends.append((height, f"{name} {percent(own[-1].accuracy)}", "main-label" if name == "seal" else "soft-label"))
    for (_, label, class_), at in zip(ends, apart([end for end, _, _ in ends], 15, top, bottom), strict=True):
        pen.text(right + 8, at + 4, label, class_)
    return pen.markup("chart")
