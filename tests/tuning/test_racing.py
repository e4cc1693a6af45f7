"""Who gets how many trials, who goes on, and what is compared in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_ray.config import load
from seal_ray.tuning.costs import Costs
from seal_ray.tuning.racing import CONTENDERS, FEWEST_TRIALS, Schedule, contenders, front, ranked
from seal_ray.tuning.space import Settings
from seal_ray.types import LoraSpec, OptimSpec
from tests.runs import CONFIG


def settings(rank: int, epochs: int) -> Settings:
    return Settings(LoraSpec(rank, 2.0 * rank), OptimSpec(epochs=epochs))


START, CHEAP, SHORT, DEAR = settings(16, 10), settings(4, 10), settings(16, 5), settings(32, 20)


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs.of(load(CONFIG), [START, CHEAP, SHORT, DEAR])


def test_twelve_settings_share_sixty_trials_on_twelve_tasks() -> None:
    schedule = Schedule.of(60, 12, 400)
    assert list(schedule.stages()) == [(12, 2), (6, 4), (3, 6)]
    assert (schedule.raced, schedule.fresh) == (6, 6)
    assert Schedule.of(60, 1000, 400) == schedule


def test_more_trials_try_more_settings_on_more_tasks() -> None:
    schedule = Schedule.of(240, 1000, 400)
    assert list(schedule.stages()) == [(24, 4), (12, 8), (6, 12), (3, 16)]
    assert schedule.fresh == 16


@given(st.integers(FEWEST_TRIALS, 2000), st.integers(2, 300), st.integers(2, 500))
def test_no_task_is_asked_for_twice_and_the_trials_are_about_what_was_allowed(
    trials: int, tasks: int, possible: int
) -> None:
    schedule = Schedule.of(trials, tasks, possible)
    assert 1 <= schedule.raced <= tasks // 2
    assert 1 <= schedule.fresh <= tasks - schedule.raced
    assert schedule.fields[0] <= possible
    spent = schedule.step * sum(size + 1 for size in schedule.fields) + CONTENDERS * schedule.fresh
    assert spent <= 1.2 * trials + 6


def test_the_best_go_on_and_the_cheaper_of_equals(costs: Costs) -> None:
    earned = {START: {"a": 0.5}, DEAR: {"a": 0.5}, CHEAP: {"a": 0.5}, SHORT: {"a": 0.9}}
    assert ranked(earned, [START, DEAR, CHEAP], costs) == [CHEAP, START, DEAR]
    assert ranked(earned, list(earned), costs)[0] == SHORT


def test_what_is_compared_is_the_best_and_the_cheapest_that_is_as_good(costs: Costs) -> None:
    earned = {
        START: {"a": 0.5, "b": 0.5},
        DEAR: {"a": 0.9, "b": 0.6},
        SHORT: {"a": 0.5, "b": 0.5},
        CHEAP: {"a": 0.9},
    }
    assert contenders(earned, START, [DEAR, START, SHORT], 1, costs) == [DEAR, SHORT]  # one was cut at once
    assert contenders(earned, START, [DEAR, START, SHORT], 0, costs) == [DEAR, CHEAP]
    assert contenders({START: {"a": 0.5}, DEAR: {"a": 0.5}}, START, [START, DEAR], 1, costs) == []
    assert contenders({START: {"a": 0.5}, CHEAP: {"a": 0.6}}, START, [CHEAP, START], 1, costs) == [CHEAP]
    assert contenders({START: {"a": 0.5}, CHEAP: {"a": 0.49}}, START, [START, CHEAP], 1, costs) == []


def test_the_front_is_what_none_beats_for_less_on_the_same_tasks(costs: Costs) -> None:
    earned = {START: {"a": 0.5, "b": 0.5}, SHORT: {"a": 0.5, "b": 0.5}, DEAR: {"a": 0.4}, CHEAP: {"a": 0.3}}
    assert front(earned, costs) == {SHORT, CHEAP}


def test_of_a_model_whose_costs_are_not_worked_out_nothing_is_cheaper() -> None:
    unknown = Costs.of(load(CONFIG), [START, Settings(LoraSpec(4, 4.0, ("mixer",)), OptimSpec())])
    assert unknown.flops(START) == unknown.bytes(START) == 0
    assert not unknown.cheaper(CHEAP, START)


def test_costs_follow_epochs_and_rank(costs: Costs) -> None:
    assert costs.flops(SHORT) == costs.flops(START) / 2
    assert costs.bytes(CHEAP) == costs.bytes(START) / 4
    assert costs.cheaper(CHEAP, START)
    assert not costs.cheaper(START, START)
    assert not costs.cheaper(DEAR, START)
