"""ReST-EM: supervised finetuning on the self-edits that were kept."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Update
from seal_ray.types import FinetuneSpec
from seal_ray.update.base import Found, example, finetune


@dataclass(frozen=True)
class Sft:
    """The policy learns to write what was kept."""

    needs_rewards = False

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec:
        return finetune([*map(example, found.kept)], found, settings, seed)
