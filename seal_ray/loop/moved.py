"""How far a policy has moved from the one that its stream began with, beside what passages and questions tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from seal_ray.domains.base import PlainTexts
from seal_ray.loop.asked import asked_once
from seal_ray.loop.memory import probes
from seal_ray.types import Example, Policy, Trial

if TYPE_CHECKING:
    from seal_ray.loop.session import OpenRun
    from seal_ray.workers.base import Cluster


@dataclass(frozen=True)
class Yardstick:
    """Texts that no passage is about, and how likely each was where the streams begin."""

    said: tuple[Example, ...] = ()
    """What the first policy answers to questions of what it knows."""
    plain: tuple[Example, ...] = ()
    before: tuple[float, ...] = ()

    @property
    def texts(self) -> tuple[Example, ...]:
        """All of them."""
        return (*self.said, *self.plain)

    def moved(self, now: Sequence[float]) -> tuple[float | None, float | None]:
        """How many nats a token less likely either have become; None where there are none, or nothing was told."""
        lost = [was - is_now for was, is_now in zip(self.before, now, strict=True)] if now else []
        of_said, of_plain = lost[: len(self.said)], lost[len(self.said) :]
        return fmean(of_said) if of_said else None, fmean(of_plain) if of_plain else None


async def yardstick(run: OpenRun, cluster: Cluster, start: Policy) -> Yardstick:
    """What this policy says and expects, on record; nothing of a domain that has no such texts."""
    said = await probes(run, cluster, start)
    plain = tuple(run.domain.plain_texts()) if isinstance(run.domain, PlainTexts) else ()
    if not (said or plain):
        return Yardstick()
    trial = Trial("where streams begin", start.adapter, None, 0, (), 1, (), (*said, *plain))
    return Yardstick(said, plain, (await asked_once(run, cluster, start, trial)).log_likelihoods)
