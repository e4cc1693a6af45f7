"""Who works as what in the next round is a matter of how long either kind was busy in the last."""

from __future__ import annotations

import pytest

from seal_ray.workers.rebalance import Allocation, Span, busy_seconds, rebalanced


def test_a_worker_is_busy_once_however_many_calls_it_holds() -> None:
    spans = [
        Span("trial", "a", 0, 10),
        Span("trial", "a", 2, 5),
        Span("trial", "a", 8, 12),
        Span("trial", "a", 20, 21),
        Span("trial", "b", 0, 4),
        Span("sample", "c", 0, 100),
        Span("ask", "c", 90, 130),
    ]
    assert busy_seconds(spans, "trial") == 12 + 1 + 4
    assert busy_seconds(spans, "sample", "ask") == 130
    assert busy_seconds([], "trial") == 0


@pytest.mark.parametrize(
    ("training", "sampling", "expected"),
    [
        (600, 200, Allocation(6, 2)),  # as they are: 100 s each
        (700, 100, Allocation(7, 1)),
        (100, 700, Allocation(1, 7)),
        (400, 400, Allocation(4, 4)),
        (600, 250, Allocation(6, 2)),  # 125 s now, 120 s with a third sampler: not worth a start
        (0, 500, Allocation(6, 2)),  # nothing was measured of the one
        (500, 0, Allocation(6, 2)),
    ],
)
def test_eight_workers_are_dealt_out_as_the_work_is(training: float, sampling: float, expected: Allocation) -> None:
    assert rebalanced(Allocation(6, 2), training, sampling) == expected


def test_a_kind_that_takes_two_gpus_is_weighed_as_two() -> None:
    moved = rebalanced(Allocation(2, 3), training=900, sampling=100, trainer=1, sampler=2)
    assert moved == Allocation(6, 1)
    assert rebalanced(Allocation(2, 3), training=100, sampling=900, trainer=1, sampler=2) == Allocation(2, 3)


def test_no_split_takes_more_than_there_was_or_leaves_a_kind_out() -> None:
    for training, sampling in [(1, 1e6), (1e6, 1), (3, 5), (50, 49)]:
        for trainer, sampler in [(1, 1), (1, 4), (2, 1), (0.5, 0.5)]:
            allocation = rebalanced(Allocation(5, 2), training, sampling, trainer, sampler)
            assert min(allocation.trainers, allocation.samplers) >= 1
            assert allocation.trainers * trainer + allocation.samplers * sampler <= 5 * trainer + 2 * sampler


def test_unlike_fractions_of_a_gpu_stay_as_they_were_given() -> None:
    assert rebalanced(Allocation(2, 2), 900, 10, trainer=0.6, sampler=0.4) == Allocation(2, 2)
    assert rebalanced(Allocation(2, 2), 900, 10, trainer=0.5, sampler=0.5) == Allocation(3, 1)
    assert rebalanced(Allocation(2, 2), 900, 10, trainer=1, sampler=0) == Allocation(2, 2)  # the samplers use none
