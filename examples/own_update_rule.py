"""An update rule of one's own: self-edits that taught more are learnt from more often.

seal-ray run jobs/microworld.toml --update.rule own_update_rule:Weighted --update.options '{"most": 3}'
"""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Update
from seal_ray.types import FinetuneSpec
from seal_ray.update.base import Found, example, finetune


@dataclass(frozen=True)
class Weighted:
    """Each kept self-edit is an example once, or up to `most` times by its reward."""

    most: int = 3
    needs_rewards = True

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        examples = [e for kept in found.kept for e in [example(kept)] * max(1, round(self.most * kept.reward))]
        return finetune(examples, found, settings, seed)
