"""Schedulers propose trials; what they propose depends on what came of the others, and not on when."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seal_ray.selection.foresight import Foresight, InTurn
from seal_ray.selection.racing import Race, RaceConfig
from seal_ray.selection.scheduling import FixedSeeds, Proposal, Scheduler
from seal_ray.types import SelfEdit

ABOUT = np.array([[0.5], [0.1], [-0.2], [-0.4]])
"""What is known of four self-edits: one number each."""


def in_turn(worth: float = 0.0) -> InTurn:
    """What foresees that a self-edit earns as much more as its number is larger."""
    foresight = Foresight(np.array([1.0]), mean=0.4, level=0.1, error=0.1)
    scheduler = InTurn(4, 3, worth, lambda edits: (foresight, ABOUT))
    scheduler.read([SelfEdit("task", index, 0, "prompt", "text", index) for index in range(4)])
    return scheduler


MADE = {
    "fixed": lambda: FixedSeeds(4, 3),
    "race": lambda: Race(4, RaceConfig(budget=12, worth=0.0)),
    "in turn": in_turn,
}


def done(scheduler: Scheduler, order: int) -> list[set[Proposal]]:
    """What is proposed at once, where results come in an order of their own; some trials fail."""
    rng, batches = random.Random(order), []
    while batch := list(scheduler.ask()):
        batches.append(set(batch))
        rng.shuffle(batch)
        for proposal in batch:
            drawn = random.Random(f"{proposal}").random()
            scheduler.tell(proposal, None if proposal.candidate == 1 else drawn)
    return batches


@pytest.mark.parametrize("name", MADE)
def test_the_order_in_which_results_come_decides_nothing(name: str) -> None:
    first, *others = [done(MADE[name](), order) for order in range(6)]
    assert all(other == first for other in others)


@pytest.mark.parametrize("name", MADE)
def test_no_more_is_proposed_than_the_budget_and_nothing_twice(name: str) -> None:
    scheduler = MADE[name]()
    every = [proposal for batch in done(scheduler, 0) for proposal in batch]
    assert len(every) == len(set(every)) <= scheduler.budget == 12


def test_fixed_seeds_are_proposed_all_at_once_until_each_has_a_result() -> None:
    scheduler = FixedSeeds(2, 2)
    assert scheduler.ask() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    scheduler.tell(Proposal(1, 0), 0.5)
    scheduler.tell(Proposal(0, 0), None)
    assert scheduler.ask() == [(0, 1), (1, 1)]
    with pytest.raises(ValueError, match="already told of"):
        scheduler.tell(Proposal(1, 0), 0.5)


def test_self_edits_are_tried_in_turn_the_most_promising_first_while_one_promises_enough() -> None:
    eager, content = in_turn(), in_turn(worth=0.02)
    assert eager.ask() == content.ask() == [(0, 0), (0, 1), (0, 2)], "with all its seeds at once"
    for scheduler in (eager, content):
        for seed in range(3):
            scheduler.tell(Proposal(0, seed), 0.9)
    assert content.ask() == [], "the others are foreseen to earn half as much"
    assert eager.ask() == [(1, 0), (1, 1), (1, 2)]


def test_what_disappoints_makes_the_next_one_worth_a_trial() -> None:
    scheduler = in_turn(worth=0.02)
    for proposal in scheduler.ask():
        scheduler.tell(proposal, None)
    assert scheduler.ask() == [(1, 0), (1, 1), (1, 2)]


def test_where_nothing_can_be_better_nothing_more_is_tried() -> None:
    scheduler = in_turn(worth=1e-12)
    for proposal in scheduler.ask():
        scheduler.tell(proposal, 1.0)
    assert scheduler.ask() == []
