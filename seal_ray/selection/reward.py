"""What self-edits are chosen by: a sum of named parts of what a trial came to, each times its weight.

What is on record of a trial is what its answers earned, whatever the weights are. The sum says which of a task's
self-edits to prefer; whether one has taught anything is a question of what it earned, and of what it cost of what was
known before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from statistics import fmean
from typing import NamedTuple

from seal_ray import plugins
from seal_ray.config import Reward
from seal_ray.record.summary import Interval, Measured, figure
from seal_ray.selection.reliability import Prior
from seal_ray.selection.rules import Candidate
from seal_ray.types import Outcome, SelfEdit, UserError

OwnPart = Callable[[SelfEdit, Outcome], float]
"""A part of one's own: a function of a self-edit and of what came of a trial of it, and of nothing else."""
_OWN = "selection.reward.own"
_ANYWHERE = 1e4
"""How far from any expectation a task's sums may lie: far beyond what tokens and own parts add up to."""


class TrialSummary(NamedTuple):
    """What decisions need of an outcome; everything else stays in the journal, or a long run would fill the memory."""

    reward: float
    """What its answers earned."""
    problem: str = ""
    """Why it failed, when it did."""
    forgotten: float = 0.0
    """What it cost of what was known before, in nats a token, where that was asked."""
    tokens: int = 0
    """Trained on, over all epochs."""
    verdicts: tuple[float, ...] = ()
    """One for each question."""
    outcome: Outcome | None = None
    """All of it, for parts of one's own alone."""


class Part(NamedTuple):
    """One summand: its name, its value, and its weight."""

    name: str
    value: float
    weight: float


@dataclass(frozen=True)
class ChosenBy:
    """The sum that a config asks for."""

    weights: Reward
    own: tuple[tuple[str, OwnPart, float], ...] = ()

    @classmethod
    def of(cls, weights: Reward) -> ChosenBy:
        """With the parts that it names; `UserError` says which of them is none."""
        own = tuple((name, plugins.find(_OWN, name, {}), weight) for name, weight in weights.own.items())
        for name, part, _ in own:
            plugins.must_take(f"{_OWN} {name!r}: no function of a self-edit and an outcome", part, "edit", "outcome")
        return cls(weights, own)

    @property
    def prior(self) -> Prior:
        """The prior of the sum: that of a reward where it is one, else one whose level may lie anywhere.

        A race that took a task's sums to lie where rewards do would have whatever it tried least drawn there.
        """
        usual, scale = Prior(), abs(self.weights.gain)
        if self.most == 1.0:
            return usual
        return replace(usual, level=_ANYWHERE, spread=usual.spread * (scale or 1), noise=usual.noise * (scale or 1))

    @property
    def most(self) -> float:
        """What no sum exceeds: 1 where it is a reward, less what a trial costs of what was known."""
        return 1.0 if replace(self.weights, memory=0.0) == Reward() else math.inf

    def summary(self, outcome: Outcome) -> TrialSummary:
        """What is to be kept in memory of an outcome."""
        problem = (outcome.failure.reason or "failed")[:300] if outcome.failure else ""
        whole = outcome if self.own else None
        forgotten = outcome.forgotten or 0.0
        return TrialSummary(outcome.reward or 0.0, problem, forgotten, outcome.tokens, outcome.verdicts, whole)

    def candidate(self, edit: SelfEdit, tried: Sequence[TrialSummary]) -> Candidate:
        """A self-edit with what its trials say; one that failed makes it unusable."""
        problem = next((each.problem for each in tried if each.problem), "")
        rewards, earned = (tuple(map(of, tried)) for of in (partial(self.sum, edit), self.taught))
        judged = [each.verdicts for each in tried if each.verdicts]
        verdicts = tuple(fmean(of_one) for of_one in zip(*judged, strict=False))
        return Candidate(edit, rewards, problem, verdicts, earned=None if earned == rewards else earned)

    def sum(self, edit: SelfEdit, trial: TrialSummary) -> float:
        """The reward that a trial gives its self-edit; one that failed gives nothing."""
        return 0.0 if trial.problem else sum(part.value * part.weight for part in self.parts(edit, trial))

    def taught(self, trial: TrialSummary) -> float:
        """The part of the reward that is compared with the task's score without training: no bonus counts."""
        return trial.reward - max(0.0, self.weights.memory * trial.forgotten)

    def parts(self, edit: SelfEdit, trial: TrialSummary) -> Iterator[Part]:
        """All that count, the gain first."""
        weights = self.weights
        yield Part("gain", trial.reward, weights.gain)
        if weights.memory:
            yield Part("memory", -trial.forgotten, weights.memory)
        if weights.length:
            yield Part("length", edit.tokens, weights.length)
        if weights.format:
            yield Part("format", formed(edit.completion), weights.format)
        if weights.cost:
            yield Part("cost", trial.tokens, weights.cost)
        for name, part, weight in self.own:
            assert trial.outcome
            value = part(edit, trial.outcome)
            if not (isinstance(value, Real) and math.isfinite(value)):
                raise UserError(f"{_OWN} {name!r}: came to {value!r} for a self-edit on {edit.task_id}, and no number")
            yield Part(name, float(value), weight)


def figure_of(trials: Mapping[str, TrialSummary]) -> Interval:
    """The mean reward over tasks, of which each has one trial, with the share that failed."""
    whole = Measured()
    for task, trial in trials.items():
        whole.rewards[task].append(trial.reward)
        whole.reasons.update([trial.problem] if trial.problem else ())
    return figure([whole])


def formed(text: str) -> float:
    """The share of its lines that say something, and what no line before them has said; 0 where there is none."""
    lines = [" ".join(line.split()).casefold() for line in text.splitlines() if line.strip()]
    said = {line for line in lines if any(letter.isalnum() for letter in line)}
    return len(said) / len(lines) if lines else 0.0
