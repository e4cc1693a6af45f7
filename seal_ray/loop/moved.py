"""How far a policy has moved from the one that its stream began with, beside what passages and questions tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from seal_ray.domains.base import PlainTexts
from seal_ray.loop.asked import asked_once
from seal_ray.loop.memory import probes
from seal_ray.types import Example, Policy, Prompt, Trial

if TYPE_CHECKING:
    from seal_ray.loop.session import Session


@dataclass(frozen=True)
class Distance:
    """How far a policy is from the one that its stream began with, in nats a token; None where that is not told."""

    moved: float | None = None
    """How much less likely the first policy's own answers have become."""
    plain: float | None = None
    """The same of plain texts."""
    diverged: float | None = None
    """How far what is predicted along those answers is from what the first policy predicts there: `KL(first ‖ now)`."""


@dataclass(frozen=True)
class Read:
    """One of the first policy's answers, read by whoever would answer its question now."""

    number: int
    likelihood: float
    """The mean log-likelihood of its tokens."""
    divergence: float | None
    """The mean divergence of what is predicted there."""


@dataclass(frozen=True)
class Yardstick:
    """Texts that no passage is about, and how likely each was where the streams begin."""

    said: tuple[Example, ...] = ()
    """What the first policy answers to questions of what it knows."""
    plain: tuple[Example, ...] = ()
    before: tuple[float, ...] = ()

    @property
    def questions(self) -> list[Prompt]:
        """What the first policy answered, answer by answer."""
        return [example.prompt for example in self.said]

    def distance(self, said: Sequence[Read], plain: Sequence[float]) -> Distance:
        """The distance, from how likely the texts are now. `said` has each answer once; if one lacks, none count."""
        was_said, was_plain = self.before[: len(self.said)], self.before[len(self.said) :]
        whole = said if len(said) == len(self.said) else ()
        diverged = [read.divergence for read in whole if read.divergence is not None]
        return Distance(
            _mean([was_said[read.number] - read.likelihood for read in whole]),
            _mean([was - now for was, now in zip(was_plain, plain, strict=True)] if plain else []),
            _mean(diverged if len(diverged) == len(whole) else []),
        )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


async def yardstick(session: Session, start: Policy) -> Yardstick:
    """The yardstick of this policy, from the record or by asking it; empty where the domain has no such texts."""
    said = await probes(session, start)
    plain = tuple(session.domain.plain_texts()) if isinstance(session.domain, PlainTexts) else ()
    if not (said or plain):
        return Yardstick()
    trial = Trial.reading("where streams begin", start.adapter, (*said, *plain))
    return Yardstick(said, plain, (await asked_once(session, start, trial)).log_likelihoods)
