"""How far a reward can be trusted: the spread between self-edits against the noise between seeds.

One model is behind every number here: a task has a level, each of its candidates a true reward around that level
(`spread`), and each seed a reward around its candidate's true one (`noise`). Letters: C candidates, S seeds,
R ratios of spread to noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Rewards = Sequence[Sequence[Sequence[float]]]
"""task -> candidate -> seed; ragged, and a candidate may have no reward at all."""

FAITH = 8.0
"""Degrees of freedom a prior counts for beside the data it meets: about two candidates of five seeds."""
RATIO_SD = 0.5
"""How far, in logs, spread / noise of a new run may lie from the prior's before the data insist."""
_RATIOS = np.concatenate([[0.0], np.geomspace(0.02, 50, 400)])


@dataclass(frozen=True)
class Prior:
    """What is believed of a task's rewards before its first trial. All standard deviations but the mean.

    The defaults are round numbers in the range of published rounds of the passage domain, rewards in [0, 1].
    """

    mean: float = 0.4
    level: float = 0.2
    """Between tasks."""
    spread: float = 0.08
    """Between the true rewards of one task's candidates."""
    noise: float = 0.18
    """Between the seeds of one candidate."""

    @staticmethod
    def estimate(rewards: Rewards, start: Prior | None = None) -> Prior:
        """The prior for the next round: likelihood of all rewards so far, shrunken towards `start` where they are few.

        Seeds that were handed out by a race are no bias here: the likelihood sees everything the race saw.
        """
        start = start or Prior()
        means = [np.mean([np.mean(c) for c in task if len(c)]) for task in rewards if any(len(c) for c in task)]
        if not means:
            return start
        mean = (start.mean + len(means) * float(np.mean(means))) / (1 + len(means))
        level2 = (start.level**2 + float(np.sum((np.array(means) - mean) ** 2))) / (1 + len(means))
        spread, noise = _fit(rewards, start)
        return Prior(mean, level2**0.5, spread, noise)


def reliability(rewards: Rewards) -> float | None:
    """The share of the variance of candidates' mean rewards that is truth: 1 would be a judge without noise.

    It is the squared correlation to expect between a mean reward and the true one, within a task. None where the
    rewards cannot tell: no candidate with two seeds, or no task with two candidates.
    """
    counts = [len(c) for task in rewards if sum(len(c) > 0 for c in task) > 1 for c in task if len(c)]
    if not any(len(c) > 1 for task in rewards for c in task) or not counts:
        return None
    spread, noise = _fit(rewards, None)
    if spread == 0:
        return 0.0
    return float(np.mean([spread**2 / (spread**2 + noise**2 / n) for n in counts]))


def _fit(rewards: Rewards, start: Prior | None) -> tuple[float, float]:
    """Spread and noise of greatest restricted likelihood over the ratio of the two; `start` shrinks both.

    The task's level is free. With equal seeds everywhere and no shrinking this is the analysis of variance.
    """
    ratio2 = _RATIOS**2
    squares, log_det, freedom = np.zeros_like(ratio2), np.zeros_like(ratio2), 0
    for task in rewards:
        seeds = [np.asarray(c, dtype=float) for c in task if len(c)]
        if not seeds:
            continue
        n_C = np.array([len(c) for c in seeds])
        y_C = np.array([c.mean() for c in seeds])
        weight_RC = n_C / (1 + ratio2[:, None] * n_C)
        level_R = (weight_RC * y_C).sum(1) / weight_RC.sum(1)
        squares += (weight_RC * (y_C - level_R[:, None]) ** 2).sum(1) + sum(((c - c.mean()) ** 2).sum() for c in seeds)
        log_det += np.log1p(ratio2[:, None] * n_C).sum(1) + np.log(weight_RC.sum(1))
        freedom += int(n_C.sum()) - 1
    penalty = np.zeros_like(ratio2)
    if start is not None:
        start_noise, start_spread = max(start.noise, 1e-6), max(start.spread, 1e-6)
        squares, freedom = squares + FAITH * start_noise**2, freedom + int(FAITH)
        aim = np.log(start_spread / start_noise)
        with np.errstate(divide="ignore"):
            penalty = ((np.log(_RATIOS) - aim) / RATIO_SD) ** 2
    best = int(np.argmin(freedom * np.log(np.maximum(squares, 1e-24)) + log_det + penalty))
    noise = float(np.sqrt(squares[best] / max(freedom, 1)))
    return float(_RATIOS[best]) * noise, noise


@dataclass(frozen=True)
class Belief:
    """Normal posteriors of one task's candidates: independent given the task's level, which none of them knows exactly.

    Which candidate is best hardly depends on the level, so a race's decisions leave its doubt out; what is known of one
    candidate (`sd_C`, `above`) includes it.

    Where the seeds are counted, the reward raced for is the mean of that many: what is seen of it is certain, and what
    is open holds noise of its own. Where they are not, it is the true reward, the mean of infinitely many.
    """

    n_C: Array
    true_C: Array
    """Expected true rewards."""
    var_C: Array
    """Variances of the true rewards, were the level known."""
    shared_C: Array
    """What the doubt about the level adds to them."""
    noise2: float
    mean_C: Array
    """Expected rewards raced for."""
    per_seed: float
    """Weight of one seed in the reward raced for: 0 in the true one."""

    @staticmethod
    def of(n_C: Array, sum_C: Array, within: float, prior: Prior, seeds: int | None) -> Belief:
        """The belief after each candidate's number and sum of rewards, and the squares around the candidates' means."""
        spread2, noise2, level2 = (max(sd, 1e-6) ** 2 for sd in (prior.spread, prior.noise, prior.level))
        y_C = sum_C / np.maximum(n_C, 1)
        weight_C = n_C / (n_C * spread2 + noise2)
        level = (prior.mean / level2 + (weight_C * y_C).sum()) / (1 / level2 + weight_C.sum())
        # The task's own scale: its variances may be larger or smaller than the run's, by one factor.
        squares = within / noise2 + (weight_C * (y_C - level) ** 2).sum()
        scale = (FAITH + squares) / (FAITH + max(n_C.sum() - 1, 0))
        trust_C = spread2 * weight_C
        true_C = level + trust_C * (y_C - level)
        per_seed = 1 / seeds if seeds else 0.0
        mean_C = per_seed * sum_C + (1 - n_C * per_seed) * true_C
        var_C, shared_C = scale * spread2 * (1 - trust_C), (1 - trust_C) ** 2 / (1 / level2 + weight_C.sum() / scale)
        return Belief(n_C, true_C, var_C, shared_C, float(scale * noise2), mean_C, per_seed)

    @staticmethod
    def after(rewards: Sequence[Sequence[float]], prior: Prior) -> Belief:
        """The belief about each candidate's true reward after those it has earned, which may be none."""
        n_C = np.array([len(found) for found in rewards], dtype=float)
        sum_C = np.array([math.fsum(found) for found in rewards])
        within = math.fsum((r - total / len(c)) ** 2 for c, total in zip(rewards, sum_C, strict=True) for r in c)
        return Belief.of(n_C, sum_C, within, prior, None)

    @property
    def sd_C(self) -> Array:
        """Standard deviations of the rewards raced for."""
        open_C = 1 - self.n_C * self.per_seed
        return np.sqrt(open_C**2 * (self.var_C + self.shared_C) + open_C * self.per_seed * self.noise2)

    def above(self, reward: float) -> Array:
        """The probability of each candidate's true reward to lie above this one."""
        z_C = (self.true_C - reward) / np.maximum(np.sqrt(self.var_C + self.shared_C), 1e-12)
        return np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in z_C.tolist()])

    def gaps(self, alive_C: NDArray[np.bool_]) -> tuple[int, Array]:
        """The leader of at least two, and how far each is behind it; the leader itself is minus its lead. Never > 0."""
        mean_C = np.where(alive_C, self.mean_C, -np.inf)
        leader = first_best(mean_C)
        gap_C = np.minimum(mean_C - mean_C[leader], 0.0)
        gap_C[leader] = -np.inf
        gap_C[leader] = gap_C.max()
        return leader, gap_C

    def moves(self, more_C: Array, of: int | None = None) -> Array:
        """Standard deviation of how far further seeds will move the expected rewards (or one candidate's)."""
        n, var = (self.n_C, self.var_C) if of is None else (self.n_C[of], self.var_C[of])
        seen_C = np.sqrt(var + self.noise2 / np.maximum(more_C, 1e-9))
        move_C = more_C * self.per_seed * seen_C + (1 - (n + more_C) * self.per_seed) * var / seen_C
        return np.where(more_C > 0, move_C, 0.0)


def overshoot(mean_C: Array, sd_C: Array) -> Array:
    """E[max(x, 0)] of normal x."""
    mean_C, sd_C = np.maximum(mean_C, -1e9), np.maximum(sd_C, 1e-12)
    z_C = mean_C / sd_C
    cdf_C = np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in z_C.tolist()])
    return sd_C * np.exp(-z_C * z_C / 2) / math.sqrt(2 * math.pi) + mean_C * cdf_C


def first_best(values: Array) -> int:
    """Index of the greatest; what differs in the last bits only is equal, and the first of equals wins."""
    return int(np.argmax(np.round(values, 9)))
