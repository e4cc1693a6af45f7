"""Which self-edits are learnt from: those that surely beat what their task scores without training."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from seal_ray import grading
from seal_ray.grading import Item
from seal_ray.loop.run import choose
from seal_ray.selection.racing import Race, RaceConfig
from seal_ray.selection.reliability import Belief, Prior
from seal_ray.selection.rules import RULES, SURE, Candidate, best, cover, judged, kinds, positive, random, usable
from seal_ray.selection.scheduling import Proposal
from seal_ray.types import SelfEdit, UserError


def tried(rewards: Sequence[Sequence[float]]) -> list[Candidate]:
    return [Candidate(SelfEdit("t", i, 0, "p", f"note {i}", i), tuple(found)) for i, found in enumerate(rewards)]


@pytest.mark.parametrize("raced", [False, True], ids=["evenly", "raced"])
@pytest.mark.parametrize("floor", [0.0, 0.02, 0.1, 0.4])
@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_rewards_no_higher_than_without_training_taught_nothing(raced: bool, floor: float, seeds: int) -> None:
    found = judged(tried([[floor] * seeds] * 5), untrained=floor, prior=Prior(), raced=raced)
    assert best(found, 0) == positive(found, 0) == random(found, 0) == []


def test_a_race_in_which_every_reward_is_zero_keeps_nothing() -> None:
    race = Race(16, RaceConfig(budget=48), Prior())
    rewards: list[list[float]] = [[] for _ in range(16)]
    while batch := race.ask():
        for candidate, seed in batch:
            rewards[candidate].append(0.0)
            race.tell(Proposal(candidate, seed), 0.0)
    found = judged(tried(rewards), untrained=0.0, prior=Prior(), raced=True)
    assert race.posterior()[0].min() > 0  # the level that the prior expects draws them up
    assert best(found, 0) == positive(found, 0) == []


def test_what_the_offline_grader_gives_for_wrong_answers_counts_as_nothing_taught() -> None:
    wrong = [Item("Who wrote the letter?", "Ada Lovelace", a, "Letters") for a in ("Paris", "42", "a dog", "I do not")]
    verdicts = asyncio.run(grading.load("offline").grade(wrong))
    assert min(verdicts) > 0
    found = judged(tried([[verdict] for verdict in verdicts]), untrained=min(verdicts), prior=Prior())
    assert best(found, 0) == positive(found, 0) == []


def test_of_noisy_rewards_a_candidate_is_kept_only_where_it_is_sure_to_beat_no_training() -> None:
    found = judged(tried([[0.9] * 3, [0.8, 0.9, 0.7], [0.42, 0.38, 0.43], [0.1] * 3]), untrained=0.4, prior=Prior())
    assert [c.edit.index for c in positive(found, 0)] == [0, 1]
    assert [c.edit.index for c in best(found, 0)] == [0]
    assert found[2].reward > 0.4
    assert 0 < found[2].better < SURE


@pytest.mark.parametrize(("untrained", "kept"), [(0.0, [0, 2]), (1.0, [])])
def test_where_a_task_is_solved_or_not_and_seeds_agree_more_than_untrained_is_enough(
    untrained: float, kept: list[int]
) -> None:
    """Of a run in which hardly any task is solved, so that noisy rewards would not have to mean anything."""
    rewards, prior = [[1.0], [0.0], [1.0], [0.0], [0.0]], Prior(mean=0.05, level=0.05, noise=0.5, spread=0.05)
    assert max(Belief.after(rewards, prior).above(0.0)) < SURE
    found = judged(tried(rewards), untrained, prior)
    assert [c.edit.index for c in positive(found, 0)] == kept
    assert [c.edit.index for c in best(found, 0)] == kept[:1]


def test_a_candidate_with_a_failed_trial_is_never_kept_however_well_its_others_went() -> None:
    sound, failed = tried([[0.5] * 3, [0.9, 0.9, 0.0]])
    found = judged([sound, replace(failed, problem="the loss is not finite")], untrained=0.1, prior=Prior())
    assert positive(found, 0) == best(found, 0) == [found[0]]
    assert {random(found, seed)[0].edit.index for seed in range(50)} == {0}


def test_the_control_draws_any_usable_candidate_from_the_tasks_where_the_best_is_kept_and_from_no_other() -> None:
    refused = [replace(c, rewards=(0.0,), problem="the prompt has 9,000 tokens") for c in tried([[0.0]] * 4)]
    found = judged([*refused, *tried([[0.1], [0.9], [0.2]])], untrained=0.1, prior=Prior())
    drawn = [random(found, seed) for seed in range(200)]
    assert all(len(kept) == 1 and not kept[0].problem for kept in drawn)
    assert {kept[0].reward for kept in drawn} == {0.1, 0.2, 0.9}
    assert random(judged(tried([[0.1]] * 3), untrained=0.1, prior=Prior()), 0) == []


def answered(*verdicts: Sequence[float], before: Sequence[float] = ()) -> list[Candidate]:
    """Candidates that taught as much as they answer."""
    found = tried([[sum(own) / len(own)] for own in verdicts])
    told = [replace(c, verdicts=tuple(own), better=1.0) for c, own in zip(found, verdicts, strict=True)]
    return [replace(c, before=tuple(before)) for c in told]


def indices(kept: Sequence[Candidate]) -> list[int]:
    return [c.edit.index for c in kept]


def test_a_set_is_kept_whose_members_teach_different_questions_and_none_that_adds_nothing() -> None:
    most, other, within, again = (1, 1, 1, 0, 0), (0, 0, 0, 1, 1), (1, 1, 0, 0, 0), (1, 1, 1, 0, 0)
    assert indices(cover(answered(within, again, other, most), 0)) == [1, 2]
    assert indices(cover(answered((1, 0.4, 0), (0.4, 1, 0), (0, 0, 0.4)), 0)) == [0, 1]
    assert cover([], 0) == []


def test_of_those_that_teach_as_many_questions_the_greatest_reward_is_kept() -> None:
    assert indices(cover(answered((0.6, 0.2), (1.0, 0.3), (0.8, 0.1)), 0)) == [1]


def test_a_question_that_is_right_without_training_counts_for_nobody() -> None:
    known_and_more, new = (1, 1, 0), (0, 0, 1)
    assert indices(cover(answered(known_and_more, new, before=(1, 0, 0)), 0)) == [0, 1]
    assert indices(cover(answered((1, 0, 0.3), (0, 1, 0), before=(1, 0, 0)), 0)) == [1]


def test_a_candidate_that_did_not_surely_teach_or_failed_is_in_no_set() -> None:
    unsure, failed, sound = answered((1, 1, 1), (1, 1, 1), (0, 1, 0))
    found = [replace(unsure, better=SURE - 0.01), replace(failed, problem="the loss is not finite"), sound]
    assert indices(cover(found, 0)) == [2]


def test_the_best_of_each_strategy_is_kept_where_it_taught() -> None:
    rewards, kinds_of = [[0.95] * 3, [0.8] * 3, [0.9] * 3, [0.1] * 3], ["facts", "copy", "copy", "questions"]
    found = judged(tried(rewards), untrained=0.1, prior=Prior())
    told = [replace(c, edit=replace(c.edit, strategy=kind)) for c, kind in zip(found, kinds_of, strict=True)]
    assert indices(kinds(told, 0)) == [0, 2]
    assert kinds(found, 0) == best(found, 0)
    assert kinds([], 0) == []


def test_without_verdicts_the_best_one_alone_is_the_set() -> None:
    found = judged(tried([[0.5] * 3, [0.9] * 3]), untrained=0.1, prior=Prior())
    assert cover(found, 0) == best(found, 0) == [found[1]]


def test_without_trials_any_candidate_that_can_be_trained_on_is_drawn() -> None:
    edits = [replace(c, rewards=(), problem="" if i == 3 else "it is empty") for i, c in enumerate(tried([[]] * 5))]
    assert {usable(edits, seed)[0].edit.index for seed in range(20)} == {3}
    assert usable(edits[:3], 0) == []


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_round_whose_self_edits_all_failed_stops_the_run_with_the_reason(rule: str) -> None:
    failed = [replace(c, problem="the adapter\ntargets no module") for c in tried([[0.0]] * 4)]
    with pytest.raises(UserError, match=r"^round 2: all 4 self-edits failed, most of them: the adapter targets no mod"):
        choose(RULES[rule], {"t": judged(failed, 0.0, Prior())}, 1, 2)


def test_a_round_that_taught_nothing_stops_the_run_and_says_so() -> None:
    said = r"round 1: no self-edit taught anything: none of 3 is surely \(90%\) better .* More .*\(sampling.per_task\)"
    with pytest.raises(UserError, match=said):
        choose(RULES["best"], {"t": judged(tried([[0.3]] * 3), 0.3, Prior())}, 1, 1)
