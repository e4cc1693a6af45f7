"""The playbook of a run: hints for writing self-edits, given or written by the policy, each held to what it gains.

In a round half of a task's self-edits are written with a hint and half without. Before the next one the policy is shown
what taught most and least, and asked for hints in the place of those that were dropped. As with strategies a choice is
a function of what is on record: held-out self-edits know the rounds that made their policy.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from seal_ray.config import Config
from seal_ray.domains.base import Advisable, Domain
from seal_ray.events import Events
from seal_ray.gathering import all_of
from seal_ray.plain import one_line
from seal_ray.record.hints import ADVICE
from seal_ray.record.journal import Journal
from seal_ray.record.rows import HintRow
from seal_ray.record.written import round_number
from seal_ray.selection.playbook import LONGEST, Hint, advice, alike, in_force, paying
from seal_ray.selection.strategies import in_turn
from seal_ray.types import DataError, Policy, SelfEdit, Task, UserError, content_key, derive_seed, plain_text

if TYPE_CHECKING:
    from seal_ray.loop.strategies import Tried
    from seal_ray.loop.writing import Writer

logger = logging.getLogger(__name__)

_FOR_ONE = 3
"""Pairs of self-edits that are asked about for each hint that there is room for: not every reply is one."""
_TOKENS = 80
"""Of a reply."""


def check_playbook(config: Config, domain: Domain, tries: bool) -> None:
    """Refuse a playbook that the domain cannot have, hints that are none, and rounds in which nothing is tried."""
    sampling = config.sampling
    if not sampling.playbook:
        return
    takes = advisable(domain)
    if not tries and config.run.rounds:
        raise UserError(
            f"sampling.playbook is kept by what self-edits teach, and selection.rule {config.selection.rule!r} with "
            f"update.rule {config.update.rule!r} tries none; take a selection.rule that does, such as 'best', or leave "
            "the playbook 0"
        )
    if config.selection.foresee:
        raise UserError(
            "sampling.playbook compares self-edits with a hint and without, and selection.foresee tries the promising "
            "ones of each alone; leave one of them 0"
        )
    for number, hint in enumerate(sampling.hints):
        if hint != one_line(hint, LONGEST) or len(hint) > LONGEST:
            raise UserError(
                f"sampling.hints: {one_line(hint, 60)!r} is no single line of {LONGEST} characters at most, with one "
                "blank between words and none around them"
            )
        if other := next((other for other in sampling.hints[:number] if alike(hint, other)), ""):
            raise UserError(f"sampling.hints: {hint!r} says what {other!r} does; leave one of them out")
        try:
            takes.with_hint(hint)
        except UserError as error:
            raise UserError(f"sampling.hints: {error}") from None
    if not sampling.hints and takes.advising("", "") is None:
        raise UserError(f"sampling.playbook: the model of {domain.name!r} writes no hints; give some in sampling.hints")
    if not sampling.hints and config.run.rounds == 1:
        raise UserError(
            "sampling.playbook: the first hints are written after round 1, and there is no other; give some in "
            "sampling.hints, or set run.rounds = 2 or more"
        )


def advisable(domain: Domain) -> Advisable:
    """The domain, where it takes hints."""
    if not isinstance(domain, Advisable):
        raise UserError(f"sampling.playbook: the domain {domain.name!r} takes no hints for its self-edits")
    return domain


@dataclass(frozen=True)
class Pair:
    """The self-edits of a task that taught most and least."""

    task: Task
    best: str
    worst: str
    apart: float
    """How far."""


class Playbook:
    """Chooses the hint of each self-edit, learns from each round, and has new hints written."""

    names: Sequence[str] = ()
    """It has no strategies: what is gained is told from what is written without a hint."""

    def __init__(self, config: Config, domain: Domain, journal: Journal, events: Events) -> None:
        self._most, self._seed = config.sampling.playbook, config.run.seed
        self._domain, self._events = advisable(domain), events
        self._writes = self._domain.advising("", "") is not None
        self._hints = [Hint(text, since=1) for text in config.sampling.hints]
        self._after: list[Sequence[Hint]] = [()]
        """What was known of all hints after so many rounds."""
        self._pairs: list[Pair] = []
        """Of the last round, those that are furthest apart first."""
        self._told = {row.key for row in journal.read(HintRow)}

    def domain(self, hint: str) -> Domain:
        """The domain as it asks with this hint."""
        return self._domain.with_hint(hint) if hint else self._domain

    def chosen(self, policy: Policy, task: Task, index: int, stage: str, made_by: int) -> str:
        """The hint of one self-edit; empty for none.

        In a round every second self-edit of a task has one, in turn. Elsewhere it is one that was seen to pay when
        that many rounds were over, which made the policy or what it was trained on top of.
        """
        if round_number(stage) is None:
            known = paying(self._after[made_by])
            return known[index % len(known)].text if known else ""
        hints = [hint.text for hint in in_force(self._hints)]
        if not hints or index % 2 == 0:
            return ""
        return in_turn(hints, derive_seed("hints", self._seed, stage, task.id), index // 2)

    async def begin(self, round_: int, policy: Policy, writer: Writer) -> None:
        """Have hints written where there is room for some, by what the round before taught."""
        room = self._most - len(in_force(self._hints))
        pairs = self._pairs[: _FOR_ONE * room]
        replies = await all_of(self._asked(round_, policy, pair, writer) for pair in pairs)
        refused: list[str] = []
        for pair, reply in zip(pairs, replies, strict=True):
            if not room or not reply.completion:
                continue
            shown = [f"on {pair.task.title}", pair.task.context, plain_text(reply.prompt)]
            try:
                hint = advice(reply.completion, shown, [hint.text for hint in self._hints])
                self._domain.with_hint(hint)
            except (DataError, UserError) as error:
                logger.info("%s: no hint: %s: %s", pair.task.id, error, one_line(reply.completion, 100))
                refused.append(str(error))
                continue
            self._hints.append(Hint(hint, since=round_))
            room -= 1
        if pairs and not in_force(self._hints):
            why = Counter(refused).most_common(1)[0][0] if refused else "the reply is empty"
            logger.warning(
                "round %d has no hints: none of %d replies is one, mostly for this: %s", round_, len(pairs), why
            )
        self._tell(round_ - 1, in_force(self._hints))

    async def _asked(self, round_: int, policy: Policy, pair: Pair, writer: Writer) -> SelfEdit:
        """What the policy says of a pair."""
        asking = self._domain.advising(pair.best, pair.worst)
        assert asking, "pairs are kept where the model writes hints"
        seed, stage = derive_seed("advice", self._seed, round_, pair.task.id), f"{ADVICE}{round_}"
        return await writer.write(policy, asking, pair.task, 0, seed, stage, brief=_TOKENS)

    def learn(self, found: Sequence[Tried]) -> None:
        """What a round's self-edits gained with each hint over those of the same task without one."""
        round_, gained = len(self._after), defaultdict(list)
        for tried in found:
            ended = [(c.edit.strategy, fmean(c.held)) for c in tried.candidates if c.rewards]
            without = [score for hint, score in ended if not hint]
            for hint, score in ended:
                if hint and without:
                    gained[hint].append((tried.task.id, score - fmean(without)))
        before = in_force(self._hints)
        self._hints = [hint if hint.dropped else hint.after(round_, gained[hint.text]) for hint in self._hints]
        self._after.append(tuple(self._hints))
        self._tell(round_, [hint for hint in self._hints if hint.text in {each.text for each in before}])
        if self._writes:
            pairs = filter(None, map(_pair, found))
            self._pairs = sorted(pairs, key=lambda pair: (-pair.apart, pair.task.id))[: _FOR_ONE * self._most]

    def _tell(self, round_: int, hints: Sequence[Hint]) -> None:
        """Put on record what is known of these after a round, once."""
        for hint in hints:
            key = content_key("hint", round_, hint.text)
            if key not in self._told:
                self._told.add(key)
                known = hint.since, hint.tried, hint.gains, bool(hint.dropped), tuple(hint.of_tasks)
                self._events.emit(HintRow(key, hint.text, round_, *known))


def _pair(tried: Tried) -> Pair | None:
    """The two of a task's self-edits that are furthest apart; None where all taught alike."""
    usable = [c for c in tried.candidates if c.rewards and not c.problem]
    if not usable:
        return None
    best, worst = (of(usable, key=lambda c: fmean(c.held)) for of in (max, min))
    apart = fmean(best.held) - fmean(worst.held)
    return Pair(tried.task, best.edit.completion, worst.edit.completion, apart) if apart > 0 else None
