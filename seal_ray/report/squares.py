"""The questions of a self-edit as a row of squares, each the fuller the more probably its answer is right."""

from __future__ import annotations

from markupsafe import Markup

from seal_ray.plain import counted
from seal_ray.record.continual import RIGHT
from seal_ray.report.edits import Shown
from seal_ray.report.svg import number

_SIZE, _STEP, _A_ROW = 11, 14, 24
_SQUARE = Markup(
    '<g transform="translate({} {})"><title>question {}: {:.2f}</title>'
    '<rect class="empty" width="{}" height="{}"/>{}</g>'
)


def squares(edit: Shown) -> Markup:
    """Nothing where no verdict is on record."""
    verdicts = edit.verdicts
    if not verdicts:
        return Markup()
    rows = -(-len(verdicts) // _A_ROW)
    width, height = _STEP * min(len(verdicts), _A_ROW), _STEP * rows
    right = sum(verdict >= RIGHT for verdict in verdicts)
    parts = [
        _SQUARE.format(
            _STEP * (i % _A_ROW) + 1, _STEP * (i // _A_ROW) + 1, i + 1, verdict, _SIZE, _SIZE, _filling(verdict)
        )
        for i, verdict in enumerate(verdicts)
    ]
    return Markup('<svg class="squares" role="img" aria-label="{} of {} right" width="{}" height="{}">{}</svg>').format(
        right, counted(len(verdicts), "answer"), width, height, Markup("").join(parts)
    )


def _filling(verdict: float) -> Markup:
    """From below, as in a glass."""
    tall = _SIZE * min(1.0, max(0.0, verdict))
    if not tall:
        return Markup("")
    return Markup('<rect class="right" y="{}" width="{}" height="{}"/>').format(
        number(_SIZE - tall), _SIZE, number(tall)
    )
