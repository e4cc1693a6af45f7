"""What self-edits will earn, as far as it can be foreseen from what they say, and which of a task's need no trial.

Rewards about their task's mean are foreseen by ridge regression on what a self-edit says, from the rounds before; a
task's level is learnt as its self-edits are tried. `benchmarks.predictor` replays on recorded runs what that saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Protocol

import numpy as np

from seal_ray.record.variety import near_duplicates, words
from seal_ray.selection.reliability import Array
from seal_ray.selection.scheduling import Proposal
from seal_ray.types import Prompt, SelfEdit, last_turn

FIRST = 6
"""Tasks of which everything is tried before anything is foreseen."""
_RIDGE = 10.0
"""What the squares of the weights count, beside one error of each self-edit."""
_NORMAL = NormalDist()


class Written(Protocol):
    """What is looked at of a self-edit: as it was sampled, or as it is on record."""

    @property
    def prompt(self) -> Prompt: ...
    @property
    def completion(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    @property
    def strategy(self) -> str: ...


def traits(task: Sequence[Written]) -> Array:
    """A row for each self-edit of a task: what it says, whatever it was written with."""
    again, rows = near_duplicates([edit.completion for edit in task]), []
    for edit, repeats in zip(task, again, strict=True):
        text, said, given = edit.completion, words(edit.completion), set(words(last_turn(edit.prompt)))
        own, lines = set(said), [line for line in text.splitlines() if line.strip()]
        row = [
            math.log1p(edit.tokens),
            math.log1p(len(lines)),
            len(set(lines)) / max(1, len(lines)),
            len(own) / max(1, len(said)),
            len(own & given) / max(1, len(own)),
            len(own & given) / max(1, len(given)),
            float("?" in text),
            text.count("?") / max(1, len(lines)),
            float(edit.finished),
            float(repeats),
        ]
        rows.append(row)
    return np.array(rows, dtype=float)


def features(
    traits_EF: Array, written_with: Sequence[str], strategies: Sequence[str], losses: Sequence[float] = ()
) -> Array:
    """What each self-edit says, and with which strategy, about the mean of its task's: what tells them apart decides.

    `losses` are those of a first step, for who knows them.
    """
    more = [
        [*(float(own == name) for name in strategies), *losses[place : place + 1]]
        for place, own in enumerate(written_with)
    ]
    found = np.nan_to_num(np.hstack([traits_EF, np.array(more, dtype=float)]))
    return found - found.mean(0)


@dataclass(frozen=True)
class Foresight:
    """What is believed of a task's rewards, from those before it."""

    weights_F: Array
    mean: float
    level: float
    """Standard deviation of a task's level around the mean."""
    error: float
    """Standard deviation of a reward around what is foreseen of it."""
    most: float = 1.0
    """No reward is more."""

    @classmethod
    def of(cls, before: Sequence[tuple[Array, Array]], most: float = 1.0) -> Foresight:
        """Ridge regression of rewards about their task's mean, of features in units of their spread."""
        x_NF = np.concatenate([x for x, _ in before])
        y_N = np.concatenate([y - y.mean() for _, y in before])
        scale_F = x_NF.std(0) + 1e-9
        x_NF = x_NF / scale_F
        weights_F = np.linalg.solve(x_NF.T @ x_NF + _RIDGE * np.eye(x_NF.shape[1]), x_NF.T @ y_N)
        error = float(np.sqrt(np.mean((y_N - x_NF @ weights_F) ** 2)))
        means = [float(y.mean()) for _, y in before]
        return cls(weights_F / scale_F, fmean(means), float(np.std(means)) + 1e-3, error + 1e-3, most)

    def promise(self, about: Array, tried: dict[int, float]) -> Array:
        """By how much each untried self-edit is expected to exceed the best so far, no reward being more than `most`.

        Of one that was tried, less than nothing.
        """
        ahead = about @ self.weights_F
        noise2, level2 = self.error**2, self.level**2
        left = [reward - ahead[n] for n, reward in sorted(tried.items())]
        sure = 1 / (1 / level2 + len(left) / noise2)
        centre = sure * (self.mean / level2 + sum(left) / noise2)
        sd, best = (sure + noise2) ** 0.5, max(tried.values(), default=0.0)
        gain = [_over(centre + a, sd, best) - _over(centre + a, sd, self.most) for a in ahead]
        return np.array([-1.0 if n in tried else each for n, each in enumerate(gain)])

    def next(self, about: Array, tried: dict[int, float], worth: float) -> int | None:
        """The most promising self-edit; None where none promises to add `worth`. One of a task is always tried."""
        promise = self.promise(about, tried)
        pick = int(np.argmax(promise))
        return None if len(tried) == len(about) or (tried and promise[pick] < worth) else pick


def _over(mean: float, sd: float, bar: float) -> float:
    """The expectation of how far a normal variable exceeds a bar."""
    if math.isinf(bar):
        return 0.0
    z = (mean - bar) / sd
    return sd * (_NORMAL.pdf(z) + z * _NORMAL.cdf(z))


Sight = Callable[[Sequence[SelfEdit]], tuple[Foresight, Array]]
"""What is foreseen of a task's self-edits, once they are written."""


class InTurn:
    """A task's self-edits one after another, the most promising first, as long as one promises enough; a `Scheduler`.

    Each with all its seeds, which may start at once.
    """

    even = True
    reads = True

    def __init__(self, candidates: int, seeds: int, worth: float, sight: Sight) -> None:
        self.budget = candidates * seeds
        self._seeds, self._worth, self._sight = seeds, worth, sight
        self._open: dict[Proposal, None] = {}
        self._rewards: dict[int, list[float]] = {}

    def read(self, edits: Sequence[SelfEdit]) -> None:
        self._foresight, self._about = self._sight(edits)

    def ask(self) -> list[Proposal]:
        if not self._open:
            tried = {candidate: fmean(rewards) for candidate, rewards in self._rewards.items()}
            pick = self._foresight.next(self._about, tried, self._worth)
            self._open = dict.fromkeys(Proposal(pick, k) for k in range(self._seeds)) if pick is not None else {}
        return list(self._open)

    def tell(self, proposal: Proposal, reward: float | None) -> None:
        if proposal not in self._open:
            raise ValueError(f"{proposal} was not proposed or is already told of")
        del self._open[proposal]
        self._rewards.setdefault(proposal.candidate, []).append(reward or 0.0)
