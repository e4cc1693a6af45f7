"""The policies of a run: trained, kept in the run's directory, and held by every worker.

A policy is a pointer to an adapter, called by what it was made from; a head is a name that moves from one policy to
the next: `main` over the rounds, and one for each sequence that learns continually. Workers hold the adapters of all
heads at once, so that a head moves while work goes on under the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from seal_ray.adapters.consolidate import Consolidator, Stack
from seal_ray.adapters.lora import Adapter
from seal_ray.config import Config
from seal_ray.events import Advanced, Events, StageBegan, UpdateTrained
from seal_ray.plain import counted
from seal_ray.policy import adapters
from seal_ray.policy.lineage import MAIN, Row, adapter_of, sequence_head
from seal_ray.policy.unfinished import Kept
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.rundir.keys import Names
from seal_ray.types import BASE, AdapterRef, FinetuneSpec, Policy, Prompt
from seal_ray.update.warm_start import WARM_START
from seal_ray.workers.base import Cluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grown:
    """What came of one more passage."""

    learned: Adapter | None
    """What was trained for it; None where that failed, and the policy stays as it was."""
    adapter: Adapter | None
    """The policy's next adapter; None: the untouched base."""
    tokens: int = 0
    seconds: float = 0.0
    moved: float | None = None
    """How far the next policy is from the first, by its answers, and by plain texts, in nats a token."""
    plain: float | None = None
    diverged: float | None = None
    """How far its predictions along those answers are from the first policy's, in nats a token."""
    found: float | None = None
    """Which share of the questions so far find the lesson of their own passage, where lessons answer by themselves."""


class Policies:
    """Makes the next policy of a head, once, and has the workers hold it."""

    def __init__(
        self,
        config: Config,
        store: Store,
        journal: Journal,
        events: Events,
        cluster: Cluster,
        probe: Prompt,
        names: Names | None = None,
    ) -> None:
        self._names = names or Names()
        self.base = self._names.base
        """What a run begins with: the untouched base."""
        self._config, self._store, self._events, self._cluster = config, store, events, cluster
        self._probe, self._journal = probe, journal
        self._heads: dict[str, Policy] = {}
        self._adapters: dict[AdapterRef, Adapter] = {}
        """The adapters that the workers hold."""
        self._rows: dict[AdapterRef, Row] = {}
        """Where the adapters of policies met so far are on record."""
        self._moving = asyncio.Lock()
        self._consolidator: Consolidator = Stack(config.update.max_rank)
        self._finished = {row.key: row for row in journal.read(PolicyRow)}
        self._learnt = {row.key: row for row in journal.read(LearntRow)}

    async def begin(self) -> Policy:
        """Let the main head stand where a run begins."""
        return await self.move(MAIN, self.base)

    async def move(self, head: str, policy: Policy) -> Policy:
        """Let a head stand on this policy; every worker holds its adapter from now on, and no longer the one before."""
        async with self._moving:
            self._heads[head] = policy
            await self._hold()
        return policy

    async def end(self, *heads: str) -> None:
        """Forget heads; workers need not hold what they stood on."""
        async with self._moving:
            for head in heads:
                self._heads.pop(head, None)
            await self._hold()

    async def _hold(self) -> None:
        wanted = dict.fromkeys(p.adapter for p in self._heads.values() if p.adapter != BASE)
        for ref in wanted.keys() - self._adapters.keys():
            self._adapters[ref] = await asyncio.to_thread(adapter_of, self._store, self._rows[ref])
        self._adapters = {ref: self._adapters[ref] for ref in wanted}
        lent = {policy.adapter for policy in self._heads.values() if not policy.name}
        written = {policy.adapter for policy in self._heads.values() if policy.name}
        await self._cluster.hold(self._adapters, self._probe, lent - written)

    async def next(self, parent: Policy, finetune: FinetuneSpec, kept: int, stage: str = "") -> Policy:
        """Finetune the main head's policy, unless that was done before, and move on; `kept` self-edits led to it.

        `stage` is what watchers see it called, where it is not a round's update.
        """
        name = self._names.next_policy(parent.version + 1, parent, finetune, self._config.update.max_rank)
        stage = stage or f"round {parent.version + 1}: update on {counted(kept, 'self-edit')}"
        row = self._finished.get(name) or await self._trained(name, parent, finetune, kept, stage)
        return await self.stand(MAIN, row)

    async def warm(self, finetune: FinetuneSpec) -> Policy:
        """Finetune the base before the first round, unless that was done before, and move on."""
        examples = counted(len(finetune.examples), "example")
        stage = f"{WARM_START}: update on {examples}"
        return await self.next(replace(self.base, version=-1), finetune, len(finetune.examples), stage)

    async def stand(self, head: str, row: Row) -> Policy:
        """Let a head stand on a policy that is on record."""
        return await self.move(head, await self._pointer(row))

    async def _trained(self, name: str, parent: Policy, finetune: FinetuneSpec, kept: int, stage: str) -> PolicyRow:
        version = parent.version + 1
        steps, done = finetune.optim.steps(len(finetune.examples)), 0

        def advance(now: int) -> None:
            nonlocal done
            if now > done:
                self._events.emit(Advanced(stage, now - done))
                done = now

        self._events.emit(StageBegan(stage, steps))
        start = time.monotonic()
        half_done = Kept(self._store, name)
        result = await self._cluster.update(replace(finetune, base=parent.adapter), advance, half_done)
        advance(steps)
        for warning in result.warnings:
            logger.warning("%s: %s", stage, warning)
        adapter, error = await self._consolidated(parent, result.adapter)
        ref = await asyncio.to_thread(adapters.put, self._store, adapter)
        self._events.emit(UpdateTrained(version, tuple(result.losses)))
        row = PolicyRow(
            name,
            version=version,
            parent=parent.version,
            kept=kept,
            steps=len(result.losses),
            rank=adapter.rank,
            first_loss=result.losses[0],
            last_loss=result.losses[-1],
            compression_error=error,
            seconds=time.monotonic() - start,
            adapter=ref.key,
            losses=tuple(result.losses),
        )
        self._events.emit(row)
        if half_done.is_there:
            self._journal.flush()
            half_done.forget()
        return row

    async def grow(
        self, parent: Policy, place: LearntRow, learn: Callable[[], Awaitable[Grown | None]]
    ) -> tuple[Policy, LearntRow]:
        """Learn one more passage in a sequence, unless that was done before, and move its head on.

        `place` says where that is; `learn` gives nothing where nothing could be learnt.
        """
        name = self._names.grown_policy(parent, place)
        row = self._learnt.get(name)
        if row is None:
            found = await learn()
            ref, learned = parent.adapter, BASE
            if found and found.learned:
                learned = await asyncio.to_thread(adapters.put, self._store, found.learned)
                ref = await asyncio.to_thread(adapters.put, self._store, found.adapter) if found.adapter else BASE
            if found:
                place = replace(place, tokens=found.tokens, seconds=found.seconds)
                place = replace(place, moved=found.moved, plain=found.plain, diverged=found.diverged, found=found.found)
            rank = (await self.adapter(ref)).rank if ref != BASE else 0
            row = replace(place, key=name, rank=rank, adapter=ref.key, learned=learned.key)
            self._events.emit(row)
        return await self.stand(sequence_head(row.sequence, row.way), row), row

    async def lend(self, head: str, adapter: Adapter | None, name: str = "") -> AdapterRef:
        """Let a head stand on an adapter that is no policy's: every worker holds it until that is ended.

        Under one that has a name texts are written, too.
        """
        if adapter is None:
            return BASE
        await self.lend_each({head: adapter}, name)
        return adapter.ref

    async def lend_each(self, adapters: Mapping[str, Adapter], name: str = "") -> None:
        """The same for several heads at once."""
        async with self._moving:
            for head, adapter in adapters.items():
                self._heads[head], self._adapters[adapter.ref] = Policy(name, 0, adapter.ref), adapter
            await self._hold()

    async def adapter(self, ref: AdapterRef) -> Adapter:
        """An adapter that workers hold, or that the run's directory does."""
        if held := self._adapters.get(ref):
            return held
        if row := self._rows.get(ref):
            return await asyncio.to_thread(adapter_of, self._store, row)
        return await asyncio.to_thread(adapters.get, self._store, ref)

    async def _consolidated(self, parent: Policy, learned: Adapter) -> tuple[Adapter, float]:
        """What was learnt on top of a policy, and the policy, as one adapter; and what that lost."""
        under = self._adapters.get(parent.adapter)
        found = await asyncio.to_thread(self._consolidator.consolidate, under, learned)
        assert found.adapter
        return found.adapter, found.error

    async def _pointer(self, row: Row) -> Policy:
        """The policy of a row. 0.1.0 kept its adapter by the version, so that its name is known once it is read."""
        ref = AdapterRef(row.adapter)
        if row.rank and not row.adapter:
            ref = (await asyncio.to_thread(adapter_of, self._store, row)).ref
        self._rows[ref] = row
        return Policy(row.key, row.version, ref)
