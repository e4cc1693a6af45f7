"""A reward with memory: what a trial costs of what was known before, by a few texts that are never trained on.

The texts are answers of the untouched base to questions of what it knows. What a trial costs is how much less likely
they have become, in nats a token. Whether they are still answered rightly would be another measure: of as few texts it
tells less of all else that was known, and answering takes longer than reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from seal_ray.domains.base import Domain, KnownBefore
from seal_ray.loop.asked import asked_once
from seal_ray.types import Example, Outcome, Policy, Prompt, Trial, UserError, derive_seed

if TYPE_CHECKING:
    from seal_ray.config import Config
    from seal_ray.loop.workshop import Workshop

PROBES = 24
"""How many texts a trial is held to."""
DIGITS = 4
"""Of what a trial cost: neighbours in a pass change less by rounding, so that every worker comes to the same."""
_BEFORE = "what was known before"


@dataclass(frozen=True)
class Memory:
    """The texts that trials should not make less likely, if the reward has a memory, and how likely they are."""

    probes: tuple[Example, ...] = ()
    before: float = 0.0
    """How likely they are where trials start: the mean over them of a token's log-likelihood."""

    def noted(self, outcome: Outcome) -> Outcome:
        """The outcome of a trial that was also asked for these texts, after its own, with what it cost of them."""
        if not self.probes or outcome.failure:
            return outcome
        likely = outcome.log_likelihoods
        own, probed = likely[: -len(self.probes)], likely[-len(self.probes) :]
        return replace(outcome, log_likelihoods=own, forgotten=round(self.before - fmean(probed), DIGITS))


def check_memory(config: Config, domain: Domain) -> None:
    """Refuse a reward with memory where the domain cannot say what was known before."""
    if config.selection.reward.memory and not isinstance(domain, KnownBefore):
        raise UserError(
            f"selection.reward.memory: the domain {domain.name!r} has no questions of what was known before; "
            "set it to 0"
        )


async def remembered(shop: Workshop, policy: Policy) -> Memory:
    """The memory for trials under this policy; the policy is asked once, and its answers are on record."""
    if not shop.config.selection.reward.memory:
        return Memory()
    found = await probes(shop, shop.names.base)
    if not found:
        raise UserError("selection.reward.memory: the base has no answer to what it is asked of before; set it to 0")
    start = policy if shop.config.trial.start == "policy" else shop.names.base
    trial = Trial.reading(_BEFORE, start.adapter, found)
    return Memory(trial.statements, fmean((await asked_once(shop, start, trial)).log_likelihoods))


async def probes(shop: Workshop, policy: Policy) -> tuple[Example, ...]:
    """What a policy answers to some questions of what it is to go on knowing; nothing where the domain has none."""
    seed = shop.config.run.seed
    drawn = sorted(_practice(shop.domain), key=lambda prompt: derive_seed("memory", seed, prompt))
    return await _said(shop, policy, drawn[:PROBES])


async def answers_of_before(shop: Workshop, policy: Policy) -> tuple[Example, ...]:
    """What a policy answers to all questions of what it is to go on knowing."""
    return await _said(shop, policy, _practice(shop.domain))


def _practice(domain: Domain) -> Sequence[Prompt]:
    return domain.practice() if isinstance(domain, KnownBefore) else ()


async def _said(shop: Workshop, policy: Policy, prompts: Sequence[Prompt]) -> tuple[Example, ...]:
    if not prompts:
        return ()
    longest = shop.config.trial.answer_tokens
    trial = Trial(_BEFORE, policy.adapter, None, 0, tuple(prompts), longest, shop.domain.stop)
    answers = (await asked_once(shop, policy, trial)).answers
    return tuple(Example(a, p, whole=False) for p, a in zip(prompts, answers, strict=True) if a.strip())
