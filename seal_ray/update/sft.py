"""ReST-EM: supervised finetuning on the self-edits that were kept."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Update
from seal_ray.types import FinetuneSpec
from seal_ray.update.base import Found, anchors, example


@dataclass(frozen=True)
class Sft:
    """The policy learns to write what was kept."""

    needs_rewards = False

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        examples = tuple(map(example, found.kept))
        kept_near = anchors(found.tasks, settings)
        return FinetuneSpec(examples, settings.lora, settings.optim, seed, kept_near, settings.kl_coef)
