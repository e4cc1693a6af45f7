"""How a run's time was spent, from its spans: when each worker had what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seal_ray.record.intervals import merge, total_length

KINDS = ("sample", "trial", "update")
_RESOLUTION = 600  # the shortest gap that is drawn, as a share of the whole time
_LANES = 24
_BINS = 120
_PAUSE_SECONDS, _PAUSE_SHARE = 120.0, 0.05


@dataclass(frozen=True)
class Bar:
    """A stretch of time, in seconds from the start of the run, in which a worker always had `what` to do."""

    what: str
    start: float
    end: float


@dataclass(frozen=True)
class Lane:
    worker: str
    bars: tuple[Bar, ...]
    shares: dict[str, float]
    """The share of the run's time for each kind of work, in 600 steps: gaps too short to draw count as work."""
    idle: float
    gaps: tuple[tuple[float, float], ...]
    """The stretches in which it had nothing to do."""


@dataclass(frozen=True)
class Pause:
    """A long time in which nothing was under way, cut out of the picture."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Timeline:
    seconds: float
    """Without the pauses."""
    lanes: tuple[Lane, ...]
    unseen: int
    """Workers beyond those drawn."""
    pauses: tuple[Pause, ...]
    ended: tuple[int, ...]
    """Trials that ended in each of equal parts of the time."""
    totals: dict[str, int]
    """Spans by kind."""


Span = tuple[str, str, float, float]
"""what, worker, start, end"""


def timeline(spans: Iterable[Span]) -> Timeline | None:
    """The picture's lanes, pauses and totals; None when nothing was timed."""
    found = sorted((s for s in spans if s[3] >= s[2]), key=lambda s: s[2])
    if not found:
        return None
    pauses, moved = _without_pauses(found)
    seconds = max(end for *_, end in moved) or 1e-9
    by_worker: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    ended, totals = [0] * _BINS, dict.fromkeys(KINDS, 0)
    for what, worker, start, end in moved:
        by_worker[worker][what].append((start, end))
        totals[what] = totals.get(what, 0) + 1
        if what == "trial":
            ended[min(int(end / seconds * _BINS), _BINS - 1)] += 1
    lanes = [_lane(worker or "(unnamed)", kinds, seconds) for worker, kinds in sorted(by_worker.items())]
    drawn = sorted(lanes, key=lambda lane: lane.idle)[:_LANES]
    return Timeline(
        seconds,
        tuple(sorted(drawn, key=lambda lane: lane.worker)),
        len(lanes) - len(drawn),
        pauses,
        tuple(ended),
        totals,
    )


def _without_pauses(spans: Sequence[Span]) -> tuple[tuple[Pause, ...], list[Span]]:
    """Spans from second 0 on, with every long time in which nothing was under way taken out."""
    gaps: list[tuple[float, float]] = []  # (when it began, how long it was)
    busy_until, active = spans[0][2], 0.0
    for _, _, start, end in spans:
        if start > busy_until:
            gaps.append((busy_until, start - busy_until))
        active += max(0.0, end - max(start, busy_until))
        busy_until = max(busy_until, end)
    cut = [gap for gap in gaps if gap[1] > max(_PAUSE_SECONDS, _PAUSE_SHARE * active)]
    moved: list[Span] = []
    pauses: list[Pause] = []
    removed, following = spans[0][2], iter([*cut, (float("inf"), 0.0)])
    began, length = next(following)
    for what, worker, start, end in spans:
        if start > began:
            pauses.append(Pause(began - removed, length))
            removed += length
            began, length = next(following)
        moved.append((what, worker, start - removed, end - removed))
    return tuple(pauses), moved


def _lane(worker: str, kinds: dict[str, list[tuple[float, float]]], seconds: float) -> Lane:
    gap = seconds / _RESOLUTION
    bars = [Bar(what, *stretch) for what, stretches in kinds.items() for stretch in merge(stretches, gap)]
    shares = {what: sum(b.end - b.start for b in bars if b.what == what) / seconds for what in kinds}
    busy = merge([(bar.start, bar.end) for bar in bars], gap)
    idle = max(0.0, 1 - total_length(busy) / seconds)
    return Lane(worker, tuple(bars), shares, idle, _between(busy, seconds, gap))


def _between(busy: Sequence[tuple[float, float]], seconds: float, least: float) -> tuple[tuple[float, float], ...]:
    """The gaps before, between and after stretches of work that are wide enough to be seen."""
    edges = [0.0, *(edge for stretch in busy for edge in stretch), seconds]
    return tuple((start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start > least)
