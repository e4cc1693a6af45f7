"""Which strategy the next self-edit is asked for in, by what earlier ones gained for their tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from seal_ray.selection.strategies import Belief, Paid, in_turn

NAMES = ["short", "long", "poor"]
TRUTH = {"short": (0.3, 50), "long": (0.4, 200), "poor": (0.0, 50)}
"""What a self-edit of each gains on average, and its tokens."""


def some(each: int, noise: float = 0.15, seed: int = 0) -> list[Paid]:
    rng = np.random.default_rng(seed)
    return [
        Paid(name, gain + noise * rng.standard_normal(), n) for name, (gain, n) in TRUTH.items() for _ in range(each)
    ]


def shares(paid: list[Paid]) -> Counter[str]:
    belief = Belief.of(NAMES, paid)
    return Counter(map(belief.drawn, range(300)))


def test_without_evidence_all_are_taken_in_turn_and_tasks_begin_with_different_ones() -> None:
    assert [in_turn(NAMES, 4, index) for index in range(6)] == ["long", "poor", "short"] * 2
    assert {in_turn(NAMES, task, 0) for task in range(3)} == set(NAMES)


def test_what_gains_most_for_its_tokens_is_asked_for_most_and_ever_more_surely() -> None:
    few, many = shares(some(2, noise=0.3)), shares(some(100))
    assert max(many, key=many.__getitem__) == "short"
    assert many["short"] > 290
    assert min(few.values()) > 0
    assert len(few) == 3


def test_the_same_evidence_and_seed_choose_the_same_in_whatever_order_it_is_given() -> None:
    paid = some(5)
    assert shares(paid) == shares(list(reversed(paid)))


def test_a_strategy_that_was_never_tried_is_believed_to_be_as_good_as_all_are_and_is_tried() -> None:
    paid = [each for each in some(10) if each.strategy != "long"]
    assert shares(paid)["long"] > 30


def test_one_lucky_word_does_not_make_a_strategy() -> None:
    """A rate is of all tokens together: a text of one token that happens to gain is no evidence of much."""
    paid = [*some(20), Paid("poor", 0.2, 1)]
    assert shares(paid)["poor"] < 30


@pytest.mark.parametrize("paid", [[Paid("short", 0.0, 0)], [Paid("short", -0.2, 30), Paid("long", -0.2, 30)]])
def test_nothing_gained_and_nothing_written_still_choose_one(paid: list[Paid]) -> None:
    assert Belief.of(NAMES, paid).drawn(1) in NAMES


def test_twice_as_much_evidence_is_looked_at_twice_as_often() -> None:
    """Thousands of self-edits are paid in a run, and whoever chooses is the driver."""
    looks = 0

    class Looked(Paid):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            looks += name == "tokens"
            return super().__getattribute__(name)

    def looks_at(paid: list[Paid]) -> int:
        before = looks
        Belief.of(NAMES, [Looked(each.strategy, each.gain, each.tokens) for each in paid])
        return looks - before

    assert looks_at(some(40)) == 2 * looks_at(some(20))
