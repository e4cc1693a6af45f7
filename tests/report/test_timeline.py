from __future__ import annotations

import itertools
import random

import pytest

from seal_ray.report.svg import apart, ticks
from seal_ray.report.timeline import timeline


def test_nothing_timed_is_no_timeline() -> None:
    assert timeline([]) is None


def test_overlapping_work_counts_once_and_the_rest_is_idle() -> None:
    found = timeline([("trial", "a", 100.0, 104.0), ("trial", "a", 102.0, 106.0), ("sample", "b", 100.0, 110.0)])
    assert found
    assert found.seconds == 10.0
    a, b = found.lanes
    assert (a.shares["trial"], a.idle) == (pytest.approx(0.6), pytest.approx(0.4))
    assert (b.shares["sample"], b.idle) == (1.0, 0.0)
    assert (sum(found.ended), found.totals["sample"]) == (2, 1)


def test_a_long_pause_is_cut_out_and_said() -> None:
    spans = [("trial", "a", 0.0, 60.0), ("trial", "a", 61.0, 100.0), ("trial", "a", 36_100.0, 36_200.0)]
    found = timeline(spans)
    assert found
    assert found.seconds == pytest.approx(200.0)
    assert [(p.at, p.seconds) for p in found.pauses] == [(100.0, 36_000.0)]
    assert found.lanes[0].bars[-1].end == pytest.approx(200.0)


def test_many_spans_are_drawn_as_few_bars_and_every_trial_is_counted() -> None:
    rng = random.Random(1)
    spans = [("trial", f"w{i % 40}", start := rng.random() * 3000, start + rng.random()) for i in range(20_000)]
    found = timeline(spans)
    assert found
    assert (len(found.lanes), found.unseen) == (24, 16)
    assert all(len(lane.bars) <= 600 for lane in found.lanes)
    assert sum(found.ended) == 20_000
    assert found.pauses == ()


def test_labels_keep_apart_and_stay_inside() -> None:
    places = apart([50, 52, 51, 199], 15, 10, 200)
    order = sorted(places)
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(order))
    assert min(places) >= 10
    assert max(places) <= 200
    assert places[0] < places[2] < places[1] < places[3]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.93), (0, 37), (-0.2, 0.4), (0, 1e-6)])
def test_ticks_are_round_and_span_the_values(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert found[0] <= low < high <= found[-1] + 1e-12
    assert 3 <= len(found) <= 8
