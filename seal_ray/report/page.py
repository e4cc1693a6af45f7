"""The page itself: a template filled with a run, under a policy that lets it load and execute nothing."""

from __future__ import annotations

import base64
import hashlib

import jinja2

from seal_ray.record.summary import Interval
from seal_ray.report import charts
from seal_ray.report.best_worst import Shown
from seal_ray.report.data import Arm, Run
from seal_ray.report.timeline import KINDS

_MOST_HISTOGRAMS = 24


def render(run: Run) -> str:
    """A complete HTML document. Everything from the run is escaped: much of it was written by a model."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seal_ray.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "number": _number,
        "duration": charts.duration,
        "between": _between,
    }
    style = environment.get_template("style.jinja").render()
    return environment.get_template("page.jinja").render(
        run=run,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        charts=charts,
        kinds=KINDS,
        first=next((arm for arm in run.policies if arm.round == 0), None),
        last=next((arm for arm in reversed(run.policies) if arm.round), None),
        drawn_rounds=[r for r in run.rounds if r.candidates][-_MOST_HISTOGRAMS:],
        marks=_marks,
        verb=_verb,
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else charts.percent(value)


def _points(value: float | None) -> str:
    """A difference of two shares, in points."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _between(measured: Interval) -> str:
    return f"{100 * measured.low:.1f} to {100 * measured.high:.1f}%"


def _verb(arm: Arm) -> str:
    """What the measurement supports, and no more."""
    gain = arm.gain
    if gain is None or gain.low <= 0 <= gain.high:
        return "went"
    return "rose" if gain.low > 0 else "fell"


def _marks(edit: Shown) -> list[str]:
    """One word per question: answered right by every seed, by some, by none."""
    return ["right" if v > 0.999 else "wrong" if v < 0.001 else "partly" for v in edit.verdicts]
