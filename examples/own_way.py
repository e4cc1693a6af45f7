"""A way of one's own to learn one passage after another: of what each taught, half enters the policy.

seal-ray run jobs/streams.toml --continual.ways '["merge", "own_way:Half"]'      # with this file beside the config
"""

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Likelihoods, Stand
from seal_ray.continual.deltas import scaled
from seal_ray.continual.plain import Merge


class Half(Merge):
    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return self.sum(stand.head, scaled(learned, 0.5))
