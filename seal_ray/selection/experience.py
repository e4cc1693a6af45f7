"""What the rounds so far say of rewards, and what it makes of the next one's trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from seal_ray.config import Selection
from seal_ray.selection.foresight import FIRST, Foresight, InTurn, Sight, features, traits
from seal_ray.selection.racing import Race, RaceConfig
from seal_ray.selection.reliability import Array, Prior
from seal_ray.selection.rules import Candidate
from seal_ray.selection.scheduling import FixedSeeds, Scheduler
from seal_ray.types import SelfEdit


class Experience:
    """How far a task's rewards lie apart, how noisy a seed is, and what self-edits that earn much are like.

    `start` is what is believed before the first round of what candidates are chosen by, `most` what no reward exceeds.
    """

    def __init__(self, selection: Selection, start: Prior | None = None, most: float = math.inf) -> None:
        self._selection, self._start, self._most = selection, start or Prior(), most
        self._chosen_by: list[Sequence[Sequence[float]]] = []
        self._held: list[Sequence[Sequence[float]]] = []
        self._read: list[_Read] = []
        """By task, where rewards are foreseen and something was tried."""

    def add(self, tasks: Iterable[Sequence[Candidate]]) -> None:
        """Add a round's candidates; failed ones tell nothing of how noisy seeds are, and are left out of that."""
        for candidates in tasks:
            sound = [candidate for candidate in candidates if not candidate.problem]
            self._chosen_by.append([candidate.rewards for candidate in sound])
            self._held.append([candidate.held for candidate in sound])
            if self._selection.foresee and any(candidate.rewards for candidate in candidates):
                self._read.append(_Read.of(candidates))

    def priors(self) -> tuple[Prior, Prior]:
        """Two priors: of the rewards that candidates are chosen by, and of those compared with no training."""
        if not self._held:
            return self._start, Prior()
        chosen_by = Prior.estimate(self._chosen_by, self._start)
        alike = self._held == self._chosen_by and self._start == Prior()
        return chosen_by, chosen_by if alike else Prior.estimate(self._held)

    def schedulers(self, prior: Prior, tasks: int, candidates: int, seeds: int) -> list[Scheduler]:
        """One for each task of the next round, in which none learns from another; `prior` is the first of `priors`."""
        race, worth = self._selection.race, self._selection.foresee
        if race:
            return [Race(candidates, RaceConfig(race), prior) for _ in range(tasks)]
        if sight := self._sight():
            return [InTurn(candidates, seeds, worth, sight) for _ in range(tasks)]
        return [FixedSeeds(candidates, seeds) for _ in range(tasks)]

    def _sight(self) -> Sight | None:
        """What foresees rewards from all tasks so far; None where nobody asks for it, or they are too few."""
        if len(self._read) < FIRST:
            return None
        strategies = sorted({name for task in self._read for name in task.written_with} - {""})
        foresight = Foresight.of([task.earned_by(strategies) for task in self._read], self._most)
        return partial(_seen, foresight, strategies)


def _seen(foresight: Foresight, strategies: Sequence[str], edits: Sequence[SelfEdit]) -> tuple[Foresight, Array]:
    return foresight, features(traits(edits), [edit.strategy for edit in edits], strategies)


@dataclass(frozen=True)
class _Read:
    """What the self-edits of a task say and earned, as numbers: a long run has many, and none is read again."""

    traits_EF: Array
    written_with: tuple[str, ...]
    tried: tuple[int, ...]
    earned: Array
    """Of those that were tried; one that failed earned nothing."""

    @classmethod
    def of(cls, task: Sequence[Candidate]) -> _Read:
        tried = tuple(place for place, candidate in enumerate(task) if candidate.rewards)
        earned = [0.0 if task[place].problem else fmean(task[place].rewards) for place in tried]
        edits = [candidate.edit for candidate in task]
        return cls(traits(edits), tuple(edit.strategy for edit in edits), tried, np.array(earned))

    def earned_by(self, strategies: Sequence[str]) -> tuple[Array, Array]:
        """The features of those that were tried, and what they earned."""
        return features(self.traits_EF, self.written_with, strategies)[list(self.tried)], self.earned
