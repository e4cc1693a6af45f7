"""A way in which a lesson enters the policy only as far as that costs little of what was known."""

from __future__ import annotations

from statistics import fmean

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Likelihoods, Stand
from seal_ray.continual.deltas import TEXTS, scaled
from seal_ray.continual.plain import Merge
from seal_ray.continual.texts import spread

BUDGET = 0.05
"""Nats a token that earlier passages' texts may become less likely by, at one step."""
SCALES = (1.0, 0.5, 0.25)


class Gated(Merge):
    """As `merge`, but scaled down until the texts of earlier passages stay likely, or left out."""

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        held = spread(stand.lessons, TEXTS)
        if not held:
            return await self.total(stand.head, learned)
        before = fmean(await likelihoods(stand.head, held))
        for scale in SCALES:
            found = await self.total(stand.head, scaled(learned, scale))
            if before - fmean(await likelihoods(found, held)) <= BUDGET:
                return found
        return stand.head
