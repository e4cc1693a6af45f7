"""Races are fair, deterministic and cheap; what they save is measured on simulated and on recorded rounds."""

import itertools
import math
import random

import numpy as np
import pytest

from seal_ray.selection.race_trials import Nature, recorded_rewards, replay, simulate, simulations
from seal_ray.selection.racing import Race, RaceConfig
from seal_ray.selection.reliability import Belief, Prior, reliability
from seal_ray.selection.scheduling import Proposal
from seal_ray.types import UserError
from tests.shared import SHARED, needs_shared

RECORD = SHARED / "data/seal_records/rank_iter0.json"


def rewards(candidates: int, seeds: int, seed: int = 0) -> np.ndarray:
    return Nature().draw(np.random.default_rng(seed), 1, candidates, seeds)[1][0]


def run(race: Race, rewards_CS: np.ndarray, shuffle: random.Random | None = None) -> list[tuple[int, int]]:
    """Every trial in the order it was handed out."""
    handed = []
    while trials := race.ask():
        handed += trials
        if shuffle:
            shuffle.shuffle(trials)
        for candidate, seed in trials:
            race.tell(Proposal(candidate, seed), float(rewards_CS[candidate, seed]))
    return handed


# What a race saves.


def test_five_candidates_with_fifteen_trials_keep_more_than_an_even_split() -> None:
    result = simulate(candidates=5, budget=15, tasks=400)
    assert result["trials_per_task"] == 15
    assert result["gain"] >= 6.6
    # An even split keeps 6.4 points in the long run; on the same tasks the race is to keep 0.2 more at least.
    assert result["gain"] - result["uniform_gain"] >= 0.2


@pytest.mark.slow
def test_sixteen_candidates_with_48_trials_keep_much_more_than_an_even_split() -> None:
    result = simulate(candidates=16, budget=48, tasks=150)
    assert result["gain"] >= 11.2
    assert result["gain"] - result["uniform_gain"] >= 1.4


def test_a_race_that_may_stop_keeps_what_an_even_split_keeps_for_two_thirds_of_its_trials() -> None:
    result = simulate(candidates=5, budget=15, tasks=200, worth=0.005)
    assert result["trials_per_task"] <= 11
    assert result["gain"] >= result["uniform_gain"] - 0.1


@needs_shared
def test_the_recorded_round_is_raced_with_fewer_trials_and_less_regret_than_by_halving() -> None:
    result = replay(recorded_rewards(RECORD), orders=12)
    assert result["trials_per_task"] <= 9.5
    assert result["regret"] <= 0.6
    assert result["halving_trials_per_task"] == 10
    assert result["regret"] < result["halving_regret"]
    assert result["picked_best"] >= 0.9


@needs_shared
@pytest.mark.parametrize("half", [0, 1])
def test_either_half_of_the_recorded_round_shows_the_saving(half: int) -> None:
    result = replay(recorded_rewards(RECORD)[half::2], orders=8)
    assert result["trials_per_task"] <= 9.75
    assert result["regret"] < result["halving_regret"]


@pytest.mark.parametrize(
    "nature",
    [
        Nature(),
        Nature(edit=0.2, edit_on_question=0.6),  # self-edits hardly differ
        Nature(edit=0.5, edit_on_question=1.5),  # they differ much
        Nature(question=1.2),  # noisier questions
        Nature(question=3.0),  # questions that are almost certain
        Nature(mean=0.5),  # a policy that has learnt
    ],
)
def test_other_rounds_with_other_noise_and_spread_keep_to_the_same_bounds(nature: Nature) -> None:
    _, rewards_TCS = nature.draw(np.random.default_rng(3), 120, 5, 3)
    result = replay(list(rewards_TCS), orders=1)
    assert result["trials_per_task"] <= 10
    assert result["regret"] <= 0.75
    assert result["regret"] < result["halving_regret"]


# Determinism.


@pytest.mark.parametrize("config", [RaceConfig(20, None, 0.0), RaceConfig(18, 3, 0.001)])
def test_the_order_of_arrival_changes_nothing(config: RaceConfig) -> None:
    rewards_CS = rewards(6, 20)
    races = [Race(6, config) for _ in range(4)]
    handed = [run(race, rewards_CS, random.Random(order)) for order, race in enumerate(races)]
    assert all(other == handed[0] for other in handed)
    assert len({race.best() for race in races}) == 1
    assert all(np.array_equal(race.posterior(), races[0].posterior()) for race in races)


def test_a_race_waits_for_the_whole_batch_and_hands_out_what_is_missing_again() -> None:
    race = Race(4)
    assert race.ask() == [(0, 0), (1, 0), (2, 0), (3, 0)]
    race.tell(Proposal(2, 0), 0.5)
    assert race.ask() == [(0, 0), (1, 0), (3, 0)]


def test_a_race_that_is_told_old_results_goes_on_as_if_never_interrupted() -> None:
    rewards_CS = rewards(5, 15)
    handed = run(Race(5), rewards_CS)
    resumed, known = Race(5), set(handed[:9])
    while known and (trials := resumed.ask()):
        for candidate, seed in known & set(trials):
            resumed.tell(Proposal(candidate, seed), float(rewards_CS[candidate, seed]))
            known.remove((candidate, seed))
    assert handed[:9] + run(resumed, rewards_CS) == handed


def test_no_trial_is_handed_out_twice_and_each_candidates_seeds_come_in_order() -> None:
    handed = run(Race(16, RaceConfig(48, None, 0.0)), rewards(16, 48))
    assert len(handed) == len(set(handed)) == 48
    for candidate in range(16):
        seeds = [seed for c, seed in handed if c == candidate]
        assert seeds == list(range(len(seeds)))


def test_more_seeds_go_to_candidates_that_may_be_best() -> None:
    rewards_CS = np.tile([[0.1], [0.6], [0.7], [0.1]], 20) + 0.1 * np.tile([1, -1], 10)
    handed = run(Race(4, RaceConfig(20, None, 0.0)), rewards_CS)
    tries = [sum(c == candidate for c, _ in handed) for candidate in range(4)]
    assert min(tries[1], tries[2]) > max(tries[0], tries[3])


# Failed edits and odd sizes.


def test_a_failed_edit_leaves_the_race_and_is_never_kept() -> None:
    race = Race(3)
    race.tell(Proposal(0, 0), None)
    race.tell(Proposal(1, 0), 0.0)
    race.tell(Proposal(2, 0), 0.1)
    rewards_CS = np.array([[1.0] * 15, [0.0] * 15, [0.1] * 15])
    assert all(candidate for candidate, _ in run(race, rewards_CS))
    assert race.best() == 2
    means, sds = race.posterior()
    assert math.isnan(means[0])
    assert math.isnan(sds[0])


def test_a_candidate_that_fails_on_a_later_seed_is_out_with_all_its_rewards() -> None:
    race = Race(2, RaceConfig(10, None, 0.0))
    for candidate, reward in ((0, 0.9), (1, 0.8)):
        race.tell(Proposal(candidate, 0), reward)
    (again,) = race.ask()
    race.tell(again, None)
    assert race.ask() == []
    assert race.best() == 1 - again[0]


def test_when_every_edit_fails_nothing_is_kept() -> None:
    race = Race(2)
    race.tell(Proposal(0, 0), None)
    race.tell(Proposal(1, 0), None)
    assert race.ask() == []
    assert race.best() is None


def test_a_lone_candidate_is_tried_once() -> None:
    assert run(Race(1), rewards(1, 15)) == [(0, 0)]


def test_a_budget_below_the_number_of_candidates_tries_the_first_ones_and_keeps_one_of_them() -> None:
    race = Race(5, RaceConfig(budget=3))
    assert run(race, np.zeros((5, 3))) == [(0, 0), (1, 0), (2, 0)]
    assert race.best() == 0


def test_equal_rewards_keep_the_first_candidate() -> None:
    race = Race(4)
    run(race, np.full((4, 15), 0.6))
    assert race.best() == 0
    assert np.ptp(race.posterior()[0]) < 0.1


@pytest.mark.parametrize(
    ("prior", "kept"),
    [(Prior(spread=0, noise=0), 1), (Prior(noise=0), 1), (Prior(level=0), 1), (Prior(spread=0), 0)],
)
def test_a_prior_without_variance_still_picks_and_ends(prior: Prior, kept: int) -> None:
    race = Race(3, RaceConfig(9), prior)
    assert len(run(race, np.tile([[0.2], [0.8], [0.2]], 9))) <= 9
    assert np.isfinite(race.posterior()).all()
    assert race.best() == kept


def test_what_was_not_handed_out_or_is_no_number_is_refused() -> None:
    race = Race(2)
    with pytest.raises(ValueError, match="was not handed out"):
        race.tell(Proposal(0, 1), 0.5)
    with pytest.raises(ValueError, match="cannot race with a reward of nan"):
        race.tell(Proposal(0, 0), math.nan)
    race.tell(Proposal(0, 0), 0.5)
    with pytest.raises(ValueError, match="already recorded"):
        race.tell(Proposal(0, 0), 0.5)
    with pytest.raises(ValueError, match="a race of 0 candidates"):
        Race(0)


def test_counted_seeds_are_never_exceeded_and_a_full_count_knows_the_mean_exactly() -> None:
    rewards_CS = rewards(3, 2)
    race = Race(3, RaceConfig(6, 2, 0.0))
    assert sorted(run(race, rewards_CS)) == list(itertools.product(range(3), range(2)))
    means, sds = race.posterior()
    np.testing.assert_allclose(means, rewards_CS.mean(1))
    np.testing.assert_allclose(sds, 0, atol=1e-9)


# What is believed of the candidates.


def drawn(rng: np.random.Generator, prior: Prior, candidates: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """True rewards and measured ones of a task that is as the prior says."""
    true_C = rng.normal(prior.mean, prior.level) + prior.spread * rng.normal(size=candidates)
    return true_C, true_C[:, None] + prior.noise * rng.normal(size=(candidates, seeds))


@pytest.mark.parametrize(("candidates", "budget"), [(5, 15), (16, 48)])
def test_intervals_of_the_true_rewards_hold_as_many_of_them_as_they_say(candidates: int, budget: int) -> None:
    rng, inside = np.random.default_rng(2), []
    for _ in range(2000 // candidates):
        true_C, rewards_CS = drawn(rng, Prior(), candidates, budget)
        race = Race(candidates, RaceConfig(budget))
        run(race, rewards_CS)
        mean_C, sd_C = race.posterior()
        inside += (np.abs(mean_C - true_C) <= 1.96 * sd_C).tolist()
    assert 0.93 <= np.mean(inside) <= 0.965


def test_the_chance_to_lie_above_a_reward_is_as_often_right_as_it_says() -> None:
    rng, said, right = np.random.default_rng(5), [], []
    for _ in range(1500):
        true_C, rewards_CS = drawn(rng, Prior(), 5, 3)
        bar = rng.uniform(0.2, 0.6)
        said += Belief.after(rewards_CS.tolist(), Prior()).above(bar).tolist()
        right += (true_C > bar).tolist()
    chance, above = np.array(said), np.array(right)
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        among = (chance >= low) & (chance <= high)
        assert above[among].mean() == pytest.approx(chance[among].mean(), abs=0.03)


# Noise, spread and reliability.


def test_the_prior_finds_the_noise_and_spread_that_made_the_rewards() -> None:
    rng = np.random.default_rng(1)
    true_TC = rng.normal(0.5, 0.2, (300, 1)) + rng.normal(0, 0.06, (300, 6))
    rewards_TCS = true_TC[:, :, None] + rng.normal(0, 0.15, (300, 6, 4))
    prior = Prior.estimate(rewards_TCS.tolist())
    assert prior.spread == pytest.approx(0.06, rel=0.1)
    assert prior.noise == pytest.approx(0.15, rel=0.05)
    assert prior.mean == pytest.approx(0.5, abs=0.04)
    assert prior.level == pytest.approx(0.2, rel=0.1)


def test_the_prior_from_raced_rewards_agrees_with_that_from_all() -> None:
    _, rewards_TCS = Nature().draw(np.random.default_rng(2), 120, 5, 15)
    seen = []
    for rewards_CS in rewards_TCS:
        handed = run(Race(5), rewards_CS)
        seen.append([[float(rewards_CS[c, s]) for c, s in handed if c == candidate] for candidate in range(5)])
    raced, full = Prior.estimate(seen), Prior.estimate(rewards_TCS.tolist())
    assert raced.spread == pytest.approx(full.spread, rel=0.2)
    assert raced.noise == pytest.approx(full.noise, rel=0.1)


def test_few_rewards_hardly_move_the_prior_and_none_leave_it() -> None:
    assert Prior.estimate([]) == Prior.estimate([[[], []]]) == Prior()
    after = Prior.estimate([[[0.4, 0.4], [0.4, 0.4]]])
    assert 0.5 * Prior().noise < after.noise < Prior().noise
    assert 0.5 * Prior().spread < after.spread < Prior().spread
    assert Prior.estimate([[[0.4, 0.5], [0.4, 0.6]]], Prior(spread=0, noise=0)).noise > 0


def test_reliability_is_the_squared_correlation_of_measured_and_true_rewards() -> None:
    true_TC, rewards_TCS = Nature().draw(np.random.default_rng(4), 1000, 5, 3)
    mean_TC = rewards_TCS.mean(2)
    inside = [(x - x.mean(1, keepdims=True)).ravel() for x in (true_TC, mean_TC)]
    assert reliability(rewards_TCS.tolist()) == pytest.approx(np.corrcoef(inside)[0, 1] ** 2, abs=0.04)


def test_reliability_is_unknown_without_a_second_seed_and_nil_without_spread() -> None:
    assert reliability([[[0.1], [0.5]]]) is None
    assert reliability([[[0.1, 0.3]]]) is None
    assert reliability([]) is None
    assert reliability([[[0.1, 0.5], [0.5, 0.1]]] * 5) == 0


@needs_shared
def test_the_reliability_of_the_recorded_round_is_that_of_the_analysis_of_variance() -> None:
    rewards_TCS = np.array(recorded_rewards(RECORD))
    between = rewards_TCS.mean(2).var(axis=1, ddof=1).mean()
    expected = 1 - rewards_TCS.var(axis=2, ddof=1).mean() / 3 / between
    assert reliability(rewards_TCS.tolist()) == pytest.approx(expected, abs=0.005)


@needs_shared
def test_a_record_without_repeated_seeds_has_no_race_to_replay() -> None:
    with pytest.raises(UserError, match="no race to replay"):
        recorded_rewards(RECORD.with_name("eval_base.json"))


def test_simulated_gains_are_given_for_both_sizes_of_a_round_with_their_reliability() -> None:
    found = simulations(tasks=60)
    for size in ("5_15", "16_48"):
        assert found[f"uniform_gain_{size}"] < found[f"gain_{size}"] < found[f"best_possible_gain_{size}"]
    assert 0.2 < found["reliability"] < 0.7
