"""The strategies that a run's self-edits are written with: who asks for each, and which is taken.

What was paid is known by rounds: a round knows those before it, and elsewhere those count that made the policy. So a
choice is a function of what is on record, whoever makes it and however often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.config import Config
from seal_ray.domains.base import Domain, Strategic
from seal_ray.events import Events
from seal_ray.loop.playbook import Playbook, advisable, check_playbook
from seal_ray.loop.writing import Writer
from seal_ray.record.journal import Journal
from seal_ray.record.written import round_number
from seal_ray.selection.reward import ChosenBy, TrialSummary
from seal_ray.selection.rules import Candidate
from seal_ray.selection.strategies import Belief, Paid, in_turn
from seal_ray.types import Policy, Task, UserError, derive_seed


def check_strategies(config: Config, domain: Domain, tries: bool) -> None:
    """Refuse strategies that the domain has not, and a playbook; `tries` says whether rounds try what was written."""
    names = config.sampling.strategies
    check_playbook(config, domain, tries)
    for name in names:
        asking(config, domain, name)
        if names.count(name) > 1:
            raise UserError(f"sampling.strategies names {name!r} twice; name each once")


def asking(config: Config, domain: Domain, name: str) -> Domain:
    """The domain as it asks for a strategy of this name or with this hint, or where neither is named as it does.

    `UserError` where it does not take that, as a domain may that has changed since a run was done.
    """
    if not name:
        return domain
    if config.sampling.playbook:
        return advisable(domain).with_hint(name)
    if not isinstance(domain, Strategic):
        raise UserError(f"sampling.strategies: the domain {domain.name!r} asks for self-edits in one way only")
    if name not in (there := list(domain.strategies())):
        raise UserError(f"sampling.strategies: {name!r} is none of {', '.join(there)}")
    return domain.in_style(name)


def strategies_of(config: Config, domain: Domain, journal: Journal, events: Events) -> Strategies | Playbook:
    """What chooses how the self-edits of a run are asked for."""
    return Playbook(config, domain, journal, events) if config.sampling.playbook else Strategies(config, domain)


@dataclass(frozen=True)
class Tried:
    """The tried self-edits of a task, and what it scores with its text alone trained on, or untrained."""

    task: Task
    candidates: Sequence[Candidate]
    alone: float


class Strategies:
    """Chooses, and learns from each round."""

    def __init__(self, config: Config, domain: Domain) -> None:
        self.names, self._seed = config.sampling.strategies, config.run.seed
        self._domains = {name: asking(config, domain, name) for name in ("", *self.names)}
        self._paid: list[Paid] = []
        self._believed: list[Belief | None] = [None]
        """After so many rounds; None while nothing was paid."""

    def domain(self, strategy: str) -> Domain:
        """The domain that asks for self-edits of this strategy and reads them."""
        return self._domains[strategy]

    def chosen(self, policy: Policy, task: Task, index: int, stage: str, made_by: int) -> str:
        """The strategy of one self-edit; empty where the run has none. Elsewhere than in a round it is chosen by what
        was known when that many rounds were over, which made the policy or what it was trained on top of."""
        if not self.names:
            return ""
        number = round_number(stage)
        belief = self._believed[made_by if number is None else number - 1]
        if belief is None:
            return in_turn(self.names, derive_seed("strategies", self._seed, task.id), index)
        return belief.drawn(derive_seed("strategy", self._seed, stage, policy.version, task.id, index))

    async def begin(self, round_: int, policy: Policy, writer: Writer) -> None:
        """Nothing is to be done before a round."""

    def learn(self, found: Sequence[Tried]) -> None:
        """Note what each tried self-edit of a round gained over its task's text alone."""
        self._paid += [
            Paid(c.edit.strategy, fmean(c.held) - tried.alone, c.edit.tokens)
            for tried in found
            for c in tried.candidates
            if c.rewards and c.edit.strategy
        ]
        self._believed.append(Belief.of(self.names, self._paid) if self._paid else None)


def alone(text: TrialSummary | None, untrained: TrialSummary, by: ChosenBy) -> float:
    """What a task scores with its text alone trained on, or untrained where that could not be tried."""
    return by.taught(untrained if text is None or text.problem else text)
