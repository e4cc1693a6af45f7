"""Direct preference optimisation: what taught best of a task's self-edits against what taught least."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seal_ray.config import Update
from seal_ray.types import FinetuneSpec, ObjectiveSpec, UserError
from seal_ray.update.base import Found, example, finetune, tried


@dataclass(frozen=True)
class Dpo:
    """The policy learns to prefer, for every kept self-edit, it to the worst usable one of the same task."""

    beta: float = 0.1
    """How hard it is pulled: the strength of a preference per unit of log-probability."""
    needs_rewards = True

    def __post_init__(self) -> None:
        if not (isinstance(self.beta, int | float) and 0 < self.beta < math.inf):
            raise UserError(f"update.options.beta: must be a number above 0 (got {self.beta!r})")

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        pairs = []
        for best in found.kept:
            usable = tried(found.candidates[best.edit.task_id])
            worst = min(usable, key=lambda candidate: candidate.reward, default=best)
            if worst.reward < best.reward:
                pairs += [example(best), example(worst)]
        if not pairs:
            raise UserError("update.rule 'dpo': no kept self-edit earned more than another of its task; sample more")
        objective = ObjectiveSpec("dpo", {"beta": self.beta})
        return finetune(pairs, found, settings, seed, objective)
