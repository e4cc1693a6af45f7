"""Which strategy a self-edit is written with: a bandit over gain per token, by Thompson sampling.

What a strategy's self-edits gained, over all their tokens, is its rate. A rate is known as well as what was seen of it,
and a draw from that belief decides: strategies that may be the best are asked for, in the measure in which they may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Paid:
    """What one self-edit gained, and what it cost."""

    strategy: str
    gain: float
    """What it earned, less what the task's own text alone teaches."""
    tokens: int


def in_turn(names: Sequence[str], task: int, index: int) -> str:
    """The strategy of a task's self-edit where nothing has been paid: all in even shares."""
    return names[(task + index) % len(names)]


@dataclass(frozen=True)
class Belief:
    """What is believed of the rates of strategies: how high each is, and how far off that may be."""

    names: Sequence[str]
    rates: tuple[float, ...]
    doubts: tuple[float, ...]

    @classmethod
    def of(cls, names: Sequence[str], paid: Sequence[Paid]) -> Belief:
        """By what was paid, of which there must be something.

        A strategy begins with one self-edit as long and as good as all are on average, so that one that was never
        tried, or twice by luck, is not judged. How far self-edits lie from their strategy's rate is taken to be alike
        in all.
        """
        of_each = [[each for each in paid if each.strategy == name] for name in names]
        whole, usual = _rate(paid), max(1.0, sum(each.tokens for each in paid) / len(paid))
        off = [each.gain - rate * each.tokens for own in of_each for rate in [_rate(own)] for each in own]
        spread = float(np.sqrt(np.sum(np.square(off)) / max(1, len(off) - len(names))))
        costs = [usual + sum(each.tokens for each in own) for own in of_each]
        gains = [whole * usual + sum(each.gain for each in own) for own in of_each]
        return cls(
            names,
            tuple(gain / cost for gain, cost in zip(gains, costs, strict=True)),
            tuple(spread * (len(own) + 1) ** 0.5 / cost for own, cost in zip(of_each, costs, strict=True)),
        )

    def drawn(self, seed: int) -> str:
        """The strategy whose rate comes out highest, each drawn from what is believed of it."""
        chances = np.random.default_rng(seed).standard_normal(len(self.names))
        return self.names[int(np.argmax(self.rates + chances * self.doubts))]


def _rate(paid: Sequence[Paid]) -> float:
    return sum(each.gain for each in paid) / max(1, sum(each.tokens for each in paid))
