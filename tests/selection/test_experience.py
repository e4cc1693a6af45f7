"""What a round learns from those before it: which of a task's self-edits are worth a trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seal_ray.config import Reward, Selection
from seal_ray.selection import foresight
from seal_ray.selection.experience import Experience
from seal_ray.selection.foresight import FIRST, Foresight, InTurn
from seal_ray.selection.racing import Race
from seal_ray.selection.reliability import Prior
from seal_ray.selection.reward import ChosenBy
from seal_ray.selection.rules import Candidate
from seal_ray.selection.scheduling import FixedSeeds
from seal_ray.types import SelfEdit

FORESEEN = Selection(foresee=0.01)


def edit(task: int, index: int, lines: int) -> SelfEdit:
    text = "\n".join(f"fact {task} {index} {line}" for line in range(lines))
    return SelfEdit(f"task {task}", index, 0, "a passage", text, seed=index, tokens=4 * lines)


def tried(task: int, failed: int = -1) -> list[Candidate]:
    """Self-edits of one to nine lines, of which the longer ones earned more; one of them failed."""
    rng = np.random.default_rng(task)
    found = []
    for index, lines in enumerate(rng.permutation([1, 3, 5, 7, 9])):
        reward = lines / 12 + 0.01 * float(rng.standard_normal())
        candidate = Candidate(edit(task, index, int(lines)), (reward,))
        found.append(replace(candidate, rewards=(0.0,), problem="out of memory") if index == failed else candidate)
    return found


def after(tasks: int, selection: Selection = FORESEEN) -> Experience:
    found = Experience(selection, most=1.0)
    found.add(map(tried, range(tasks)))
    return found


def order(experience: Experience, lines: list[int], rewards: list[float]) -> list[int]:
    """Which of a new task's self-edits, of so many lines each, are tried, in turn."""
    (scheduler,) = experience.schedulers(Prior(), 1, len(lines), 1)
    assert scheduler.reads
    scheduler.read([edit(99, index, each) for index, each in enumerate(lines)])
    found = []
    while batch := scheduler.ask():
        for proposal in batch:
            found.append(proposal.candidate)
            scheduler.tell(proposal, rewards[proposal.candidate])
    return found


def test_what_earned_most_before_is_tried_first_and_the_rest_not_at_all() -> None:
    assert order(after(12), [1, 9, 5, 3], [0.1, 0.75, 0.4, 0.2]) == [1]
    assert order(after(12), [1, 9, 5, 3], [0.1, 0.0, 0.4, 0.2])[:2] == [1, 2]


def test_everything_is_tried_before_enough_is_known_and_where_nobody_asks_for_foresight() -> None:
    for experience in (after(FIRST - 1), after(FIRST, Selection())):
        (scheduler,) = experience.schedulers(Prior(), 1, 4, 2)
        assert isinstance(scheduler, FixedSeeds)
    (scheduler,) = after(FIRST).schedulers(Prior(), 1, 4, 2)
    assert isinstance(scheduler, InTurn)
    assert scheduler.budget == 8
    (scheduler,) = after(FIRST, Selection(race=6)).schedulers(Prior(), 1, 4, 2)
    assert isinstance(scheduler, Race)


def test_what_was_never_tried_says_nothing_and_what_failed_earned_nothing() -> None:
    spared = [[replace(one, rewards=()) if n % 2 else one for n, one in enumerate(tried(task))] for task in range(12)]
    half = Experience(FORESEEN, most=1.0)
    half.add(spared)
    assert order(half, [1, 9, 5], [0.1, 0.75, 0.4]) == [1]
    failing = Experience(FORESEEN, most=1.0)
    longest = [max(range(5), key=lambda n: tried(task)[n].edit.tokens) for task in range(12)]
    failing.add(tried(task, failed=longest[task]) for task in range(12))
    assert order(failing, [9, 7], [0.0, 0.5])[0] == 1, "the longest always failed"


def test_a_sum_of_parts_has_no_end_beyond_which_nothing_is_worth_a_trial() -> None:
    alike, tried_one = np.zeros((2, 1)), {0: 1.0}
    rewards = Foresight(np.zeros(1), mean=0.9, level=0.3, error=0.2, most=ChosenBy.of(Reward()).most)
    sums = replace(rewards, most=ChosenBy.of(Reward(length=-0.001)).most)
    assert rewards.next(alike, tried_one, worth=0.01) is None
    assert sums.next(alike, tried_one, worth=0.01) == 1


def test_a_race_and_foresight_are_not_both_asked_for() -> None:
    with pytest.raises(ValueError, match="race and foresee both say which"):
        Selection(race=5, foresee=0.1)


def test_what_was_written_in_earlier_rounds_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(foresight, "words", lambda text, words=foresight.words: read.append(text) or words(text))
    found = after(FIRST)
    once = len(read)
    assert once >= 5 * FIRST
    for _ in range(3):
        found.schedulers(Prior(), 4, 5, 1)
    assert len(read) == once
