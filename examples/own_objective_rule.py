"""An update rule whose objective is one's own too: `own_objective.py`, which lies beside it and is named, not imported.

seal-ray run jobs/microworld.toml --update.rule own_objective_rule:Unsure --update.options '{"enough": 0.8}'
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seal_ray.config import Update
from seal_ray.types import FinetuneSpec, ObjectiveSpec
from seal_ray.update.base import Found
from seal_ray.update.sft import Sft


@dataclass(frozen=True)
class Unsure(Sft):
    """The policy learns to write what was kept, as far as it would not write it anyway."""

    enough: float = 0.9
    objective: str = "own_objective:UpTo"

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        objective = ObjectiveSpec(self.objective, {"enough": self.enough})
        return replace(super().request(found, settings, seed), objective=objective)
