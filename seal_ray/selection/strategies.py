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


def drawn(names: Sequence[str], paid: Sequence[Paid], seed: int) -> str:
    """The strategy whose rate comes out highest, each drawn from what is believed of it.

    A strategy begins with one self-edit as long and as good as all are on average, so that one that was never tried, or
    twice by luck, is not judged. How far self-edits lie from their strategy's rate is taken to be alike in all.
    """
    of_each = [[each for each in paid if each.strategy == name] for name in names]
    whole, tokens = _rate(paid), sum(each.tokens for each in paid) / len(paid)
    off = [each.gain - _rate(own) * each.tokens for own in of_each for each in own]
    spread = float(np.sqrt(np.sum(np.square(off)) / max(1, len(off) - len(names))))
    chances = np.random.default_rng(seed).standard_normal(len(names))
    rates = []
    for own, chance in zip(of_each, chances, strict=True):
        cost = max(1.0, tokens) + sum(each.tokens for each in own)
        mean = (whole * max(1.0, tokens) + sum(each.gain for each in own)) / cost
        rates.append(mean + float(chance) * spread * (len(own) + 1) ** 0.5 / cost)
    return names[int(np.argmax(rates))]


def _rate(paid: Sequence[Paid]) -> float:
    return sum(each.gain for each in paid) / max(1, sum(each.tokens for each in paid))
