from __future__ import annotations

import pytest

from seal_ray.config import parse
from seal_ray.record.rows import SpanRow
from seal_ray.report.cost import cost
from seal_ray.report.timeline import timeline

CONFIG = parse(
    {
        "model": {"path": "microworld"},
        "domain": {"name": "microworld"},
        "workers": {"gpus_per_trainer": 2.0, "gpus_per_sampler": 0.5, "cpus": 3.0},
    },
    "the test",
)


def test_time_is_that_of_the_clock_of_workers_and_of_what_they_held() -> None:
    spans = [
        SpanRow.of("trial", "t", 0.0, 4.0),
        SpanRow.of("trial", "t", 2.0, 6.0),
        SpanRow.of("update", "t", 8.0, 10.0),
        SpanRow.of("sample", "s", 5.0, 8.0),
        SpanRow.of("trial", "t", 100.0, 110.0),
    ]
    found = cost(spans, CONFIG)
    assert found
    assert (found.wall, found.under_way) == (110.0, 20.0)
    assert found.worker_seconds == 20.0 + 3.0
    assert found.idle == pytest.approx(2.0 / 23.0)
    assert found.gpu_seconds == 2.0 * 20.0 + 0.5 * 3.0
    assert found.cpu_seconds == 3.0 * 23.0


def test_a_run_without_a_call_costs_nothing_and_one_of_no_length_next_to_nothing() -> None:
    assert cost([], CONFIG) is None
    found = cost([SpanRow.of("trial", "t", 5.0, 5.0)], CONFIG)
    assert found
    assert (found.wall, found.worker_seconds, found.idle) == (0.0, 0.0, 0.0)
    assert found.under_way > 0  # pages divide by it


def test_stretches_without_work_are_marked() -> None:
    found = timeline([("trial", "a", 0.0, 4.0), ("trial", "a", 6.0, 7.0), ("sample", "b", 0.0, 10.0)])
    assert found
    a, b = found.lanes
    assert a.gaps == ((4.0, 6.0), (7.0, 10.0))
    assert b.gaps == ()
