"""Schedulers propose trials; what they propose depends on what came of the others, and not on when."""

from __future__ import annotations

import random

import pytest

from seal_ray.selection.racing import Race, RaceConfig
from seal_ray.selection.scheduling import FixedSeeds, Proposal, Scheduler

MADE = {"fixed": lambda: FixedSeeds(4, 3), "race": lambda: Race(4, RaceConfig(budget=12, worth=0.0))}


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
