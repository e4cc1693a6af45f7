"""Which of a task's self-edits the policy is finetuned on."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.types import SelfEdit


@dataclass(frozen=True)
class Candidate:
    """A self-edit and the rewards of its trials, one per seed."""

    edit: SelfEdit
    rewards: tuple[float, ...]
    expected: float | None = None
    """What a race believes its true reward to be, which trusts few seeds less than many."""

    @property
    def reward(self) -> float:
        """The reward to choose by."""
        if self.expected is not None:
            return self.expected
        return fmean(self.rewards) if self.rewards else 0.0


@dataclass(frozen=True)
class Rule:
    """A way to choose among one task's candidates. The seed is for rules that draw lots."""

    choose: Callable[[Sequence[Candidate], int], list[Candidate]]
    needs_rewards: bool = True


def best(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """The one that taught most, the first of equals; none when no candidate taught anything."""
    top = max(candidates, key=lambda c: c.reward)
    return [top] if top.reward > 0 else []


def positive(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Every one that taught something."""
    return [c for c in candidates if c.reward > 0]


def random(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Any one: the control, which shows that the reward and not the finetuning does the work."""
    return [_random.Random(seed).choice(list(candidates))]


RULES = {"best": Rule(best), "positive": Rule(positive), "random": Rule(random, needs_rewards=False)}
