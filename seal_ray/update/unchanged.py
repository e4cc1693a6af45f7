"""No update: the policy stays as it is, and a round is the best of so many self-edits of each task."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Update
from seal_ray.update.base import Found


@dataclass(frozen=True)
class Unchanged:
    """The policy stays as it is: what a round finds is on record, and the next round samples other self-edits."""

    needs_rewards = False
    needs_kept = False

    def request(self, found: Found, settings: Update, seed: int) -> None:
        return None
