"""Policy gradient on the trials' rewards: towards what earned more than its task's mean, away from what earned less.

GRPO without its division by the standard deviation of a task's rewards, which would have a task whose self-edits hardly
differ weigh as much as one that tells them apart; and each token weighs the same, however long its text is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seal_ray.config import Update
from seal_ray.types import FinetuneSpec, ObjectiveSpec, UserError
from seal_ray.update.base import Found, advantages, example, finetune


@dataclass(frozen=True)
class Grpo:
    """Every usable self-edit moves the policy by its advantage, its reward less the mean of its task's.

    Probabilities are held against those of the policy that wrote it, which is the one that the update starts from. A
    self-edit that could not be tried says nothing.
    """

    clip: float = 0.2
    """How far, as a share, a token's probability may move before its text no longer pulls at it."""
    needs_rewards = True
    needs_kept = False

    def __post_init__(self) -> None:
        if not (isinstance(self.clip, int | float) and 0 < self.clip < 1):
            raise UserError(f"update.options.clip: must be a number between 0 and 1 (got {self.clip!r})")

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        pairs = [pair for candidates in found.candidates.values() for pair in advantages(candidates)]
        if not pairs:
            raise UserError("update.rule 'grpo': no self-edit earned more than another of its task; sample more")
        examples = [replace(example(candidate), weight=gain) for candidate, gain in pairs]
        objective = ObjectiveSpec("policy gradient", {"clip": self.clip})
        return finetune(examples, found, settings, seed, objective)
