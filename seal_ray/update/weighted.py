"""Weighted cloning: every self-edit of a task that taught something is learnt, the more the better it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from seal_ray.config import Update
from seal_ray.selection.rules import Candidate
from seal_ray.types import FinetuneSpec, UserError
from seal_ray.update.base import Found, advantages, example, finetune

WAYS = ("advantage", "softmax")


@dataclass(frozen=True)
class Weighted:
    """The policy learns to write what taught something, each self-edit by how much more it earned than its task's mean.

    The weights of a round are 1 on average: as many examples are as many steps of as large a loss as by `sft`.
    """

    by: str = "advantage"
    """`advantage`: by what it earned above the mean of its task's usable ones, those below it not at all. There is
    nothing to be tuned, and a task on which self-edits differ little counts little. `softmax`: by
    `exp(reward / temperature)` among those of its task, each task with the same sum."""
    temperature: float = 0.1
    """Of `softmax`: a reward that is higher by this much counts 2.7 times as much."""
    needs_rewards = True
    needs_kept = False

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise UserError(f"update.options.by: must be one of {', '.join(WAYS)} (got {self.by!r})")
        if not (isinstance(self.temperature, int | float) and 0 < self.temperature < math.inf):
            raise UserError(f"update.options.temperature: must be a number above 0 (got {self.temperature!r})")

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        weighed = [pair for candidates in found.candidates.values() for pair in self._of_task(candidates)]
        if not weighed:
            raise UserError(
                "update.rule 'weighted': no self-edit that taught something earned more than others of its task; "
                "sample more"
            )
        mean = math.fsum(weight for _, weight in weighed) / len(weighed)
        examples = [replace(example(candidate), weight=weight / mean) for candidate, weight in weighed]
        return finetune(examples, found, settings, seed)

    def _of_task(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, float]]:
        """The self-edits of one task that are learnt, each with its weight; never one that taught nothing."""
        if self.by == "advantage":
            yield from ((each, gain) for each, gain in advantages(candidates) if each.taught and gain > 0)
            return
        taught = [each for each in candidates if each.taught]
        top = max((each.reward for each in taught), default=0.0)
        weights = [math.exp((each.reward - top) / self.temperature) for each in taught]
        yield from ((each, weight / math.fsum(weights)) for each, weight in zip(taught, weights, strict=True))
