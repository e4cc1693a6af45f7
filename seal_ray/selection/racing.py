"""Racing: which candidate self-edit of a task gets the next seed, when to stop, and which one to keep.

One race belongs to one task. Its decisions are a function of its prior and of the task's own results, in the order
of candidate and seed and never of arrival; nothing is drawn at random. A prior
that is fixed when the round starts (`Prior.estimate` over the rounds before) therefore makes a run the same on one
worker and on a hundred, and a resumed race the same as one that was never interrupted.

Every candidate is tried once. Then, as long as the rest of the race could still add `worth` to the reward that is
kept, the next seed goes where it can change the choice. `race_trials` measures what that saves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seal_ray.selection.reliability import Array, Belief, Prior, first_best, overshoot
from seal_ray.selection.scheduling import Proposal
from seal_ray.types import SelfEdit

OPTIMISM = 2.0
"""Standard deviations by which a candidate's open seeds are hoped to lift it; all from 1 to 3 do equally well."""


@dataclass(frozen=True)
class RaceConfig:
    budget: int = 15
    """Most trials per task, failed ones included."""
    seeds: int | None = None
    """Most seeds per candidate, whose mean is then the reward raced for; None races for the true reward."""
    worth: float = 0.005
    """The race ends when the rest of it promises to add less than this to the reward; 0 spends the budget."""


class Race:
    """The race of one task's candidates, a `Scheduler`."""

    even = False
    reads = False

    def __init__(self, candidates: int, config: RaceConfig | None = None, prior: Prior | None = None) -> None:
        self.config, self.prior = config or RaceConfig(), prior or Prior()
        seeds = self.config.seeds or self.config.budget
        if min(candidates, self.config.budget, seeds) < 1:
            raise ValueError(f"a race of {candidates} candidates cannot be run with {self.config}")
        self._rewards_CS = np.full((candidates, seeds), np.nan)
        self._failed_C = np.zeros(candidates, dtype=bool)
        self.budget = self.config.budget
        self._waiting = [Proposal(c, 0) for c in range(min(candidates, self.budget))]
        self.trials = 0
        """Results recorded so far."""

    def read(self, edits: Sequence[SelfEdit]) -> None:
        """There is no need to."""

    def ask(self) -> list[Proposal]:
        """The trials that still want a result before the next decision; [] ends the race."""
        if not self._waiting:
            self._waiting = self._decide()
        return list(self._waiting)

    def tell(self, proposal: Proposal, reward: float | None) -> None:
        """The reward of one trial that was handed out; None is a failed edit, which leaves the race."""
        what = f"candidate {proposal.candidate}, seed {proposal.replicate}"
        if proposal not in self._waiting:
            raise ValueError(f"{what} was not handed out or is already recorded")
        if reward is not None and not math.isfinite(reward):
            raise ValueError(f"{what}: cannot race with a reward of {reward}")
        self._waiting.remove(proposal)
        self.trials += 1
        if reward is None:
            self._failed_C[proposal.candidate] = True
        else:
            self._rewards_CS[proposal] = reward

    def best(self) -> int | None:
        """The tried candidate of greatest expected reward, the first of equals; None when every one has failed."""
        belief = Belief.of(*self._tally(), self.prior, self.config.seeds)
        tried_C = belief.n_C > 0
        return first_best(np.where(tried_C, belief.mean_C, -np.inf)) if tried_C.any() else None

    def posterior(self) -> tuple[Array, Array]:
        """Mean and standard deviation of the reward raced for, by candidate; NaN for failed ones."""
        belief = Belief.of(*self._tally(), self.prior, self.config.seeds)
        return np.where(self._failed_C, np.nan, belief.mean_C), np.where(self._failed_C, np.nan, belief.sd_C)

    def _tally(self) -> tuple[Array, Array, float]:
        """Number and sum of each candidate's rewards, and the squares around their means; a failed one has none."""
        seen_CS = np.isfinite(self._rewards_CS) & ~self._failed_C[:, None]
        n_C = seen_CS.sum(1).astype(float)
        sum_C = np.where(seen_CS, self._rewards_CS, 0.0).sum(1)
        apart_CS = np.where(seen_CS, self._rewards_CS - (sum_C / np.maximum(n_C, 1))[:, None], 0.0)
        return n_C, sum_C, float((apart_CS**2).sum())

    def _decide(self) -> list[Proposal]:
        """The next seed, if the rest of the race is worth it."""
        n_C, sum_C, within = self._tally()
        left = self.config.budget - self.trials
        room_C = np.where(self._failed_C, 0.0, np.minimum(left, self._rewards_CS.shape[1] - n_C))
        if room_C.max() < 1 or (~self._failed_C).sum() < 2:
            return []
        belief = Belief.of(n_C, sum_C, within, self.prior, self.config.seeds)
        leader, gap_C = belief.gaps(~self._failed_C)
        if _promise(belief, leader, gap_C, room_C, left) < self.config.worth:
            return []
        pick = _choice(belief, gap_C, room_C)
        return [Proposal(pick, int(n_C[pick]))]


def _promise(belief: Belief, leader: int, gap_C: Array, room_C: Array, left: int) -> float:
    """The most that the rest of the race may add to the kept reward: all of it spent on the leader and one rival."""
    more_C = np.minimum(room_C, np.maximum(left / 2, left - room_C[leader]))
    leader_C = belief.moves(np.minimum(room_C[leader], left - more_C), leader)
    gain_C = overshoot(gap_C, np.hypot(belief.moves(more_C), leader_C))
    gain_C[leader] = 0.0
    return float(gain_C.max())


def _choice(belief: Belief, gap_C: Array, room_C: Array) -> int:
    """The candidate for the next seed.

    Where seeds are counted, the greatest hope: a leader soon proves itself or makes room, and either ends the race.
    For the true reward, the greatest knowledge gradient: what one seed is expected to add to the reward kept.
    """
    if belief.per_seed:
        value_C = belief.mean_C + OPTIMISM * belief.moves(room_C)
    else:
        value_C = overshoot(gap_C, belief.moves(np.ones_like(room_C)))
    return first_best(np.where(room_C > 0, value_C, -np.inf))
