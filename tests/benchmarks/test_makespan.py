"""The orders in which trials are given out, on rounds small enough to work out by hand."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import bench
from benchmarks.makespan import AS_BUILT, FIRST_COME, HELD, least, makespan, optimum, orders, small
from benchmarks.workload import Workload, drawn
from seal_ray.types import UserError


def test_a_long_trial_that_comes_last_ends_alone_unless_a_worker_chooses() -> None:
    assert makespan([1, 1, 1, 3], workers=1, slots=2, chooses=False) == 4
    assert makespan([1, 1, 1, 3], workers=1, slots=2, chooses=True) == 3
    assert optimum([1, 1, 1, 3], slots=2) == least([1, 1, 1, 3], slots=2) == 3


def test_a_worker_chooses_among_no_more_than_it_holds() -> None:
    assert makespan([2] * 6 + [8], workers=1, slots=1, chooses=True) == 20
    assert makespan([1, 1, 1, 1, 5], workers=2, slots=1, chooses=True) == 7
    assert makespan([5, 1, 1, 1, 1], workers=2, slots=1, chooses=True) == 6


def test_the_longest_first_is_not_always_best_but_the_optimum_is() -> None:
    steps = [5, 5, 4, 4, 3, 3, 3]
    assert makespan(sorted(steps, reverse=True), workers=1, slots=3, chooses=True) == 11
    assert optimum(steps, slots=3) == 9


def test_no_order_of_a_round_beats_what_none_can() -> None:
    found = {order.name: order for order in orders(drawn(), workers=4, slots=16, seeds=3)}
    assert all(order.over_least >= 0 for order in found.values())
    assert found[AS_BUILT].steps <= found[HELD].steps <= found[FIRST_COME].steps
    few = small(drawn(), instances=20)
    assert few.over[AS_BUILT][0] < few.over[FIRST_COME][0]
    assert few.over[AS_BUILT][0] >= 0


def test_the_command_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    bench(["makespan", "--workers", "2", "--json"], result_action="return_value")
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["orders"]) == 4
    assert printed["small"]["instances"] == 200


def test_no_worker_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="--workers 1"):
        orders(Workload(((1,),), 1, 1, 1, ""), workers=0, slots=1, seeds=1)
