"""How long what is left will take, from how fast things ended lately, by the clock of whoever wrote the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.domains.registry import learns
from seal_ray.looking.seen import Seen
from seal_ray.looking.stages import Stage
from seal_ray.plain import counted
from seal_ray.record.rows import SpanRow

LATELY = 300.0
"""Seconds of work before the last row that are looked at."""


@dataclass(frozen=True)
class Pace:
    """How many seconds are left, and what they leave out."""

    seconds: float | None
    """None where nothing of what is left has a pace yet."""
    at_most: bool
    """Whether some of what is left may turn out less."""
    without: tuple[str, ...]
    """What is left and not counted."""


def pace(seen: Seen, stages: Sequence[Stage]) -> Pace:
    """Self-edits are written while others are tried, so the longer of the two counts; updates come on top."""
    left = {kind: sum(s.left for s in stages if s.kind == kind) for kind in ("sample", "trial", "update")}
    rates = {kind: rate(seen.spans, kind) for kind in ("sample", "trial")}
    beside = {kind: left[kind] / found for kind, found in rates.items() if found}
    each = fmean(row.seconds for row in seen.policies) if seen.policies else None
    without = [counted(left[kind], name) for kind, name in _NAMES.items() if left[kind] and kind not in beside]
    without += [counted(left["update"], "update")] if left["update"] and each is None else []
    without += [stage.name for stage in stages if stage.total is None]
    without += [_LATER] if learns(seen.config) else []
    seconds = max(beside.values(), default=0.0) + left["update"] * (each or 0.0)
    return Pace(seconds if seconds or not without else None, any(s.at_most and s.left for s in stages), tuple(without))


_NAMES = {"sample": "self-edit", "trial": "trial"}
_LATER = "what has not begun, and the training on all passages"
"""Of documents: how much there will be to ask and to try, is known when it comes."""


def rate(spans: Sequence[SpanRow], kind: str) -> float | None:
    """Calls of this kind that ended in a second, over the last minutes in which any did; None before the first did."""
    mine = [row for row in spans if row.what == kind]
    if not mine:
        return None
    last = max(row.end for row in mine)
    lately = [row for row in mine if row.end > last - LATELY]
    since = max(last - LATELY, min(row.start for row in lately))
    return len(lately) / max(last - since, 1e-3)
