"""The versions of a run's policy: trained, kept in the run's directory, and served by every worker."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from seal_ray.adapters.lora import CONFIG_FILE, WEIGHTS_FILE, Adapter
from seal_ray.config import Config
from seal_ray.events import Advanced, Events, StageBegan, UpdateTrained
from seal_ray.record.journal import Journal
from seal_ray.record.manifest import damage
from seal_ray.record.repair import ASIDE, forget, set_aside
from seal_ray.record.rows import LearntRow, PolicyRow
from seal_ray.record.segments import Damaged, checksum
from seal_ray.record.storage import Store
from seal_ray.rundir.keys import Names
from seal_ray.types import FinetuneSpec, Prompt, UserError
from seal_ray.workers.base import Cluster

logger = logging.getLogger(__name__)


class Policies:
    """The versions of the policy: 0 is the untouched base, each next one the base plus a single adapter."""

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
        self._config, self._store, self._events, self._cluster = config, store, events, cluster
        self._probe = probe
        self._version = 0
        self.adapter: Adapter | None = None
        """What lies over the base in the version served."""
        self._finished = {row.key for row in journal.read(PolicyRow)}
        self._learnt = {row.key: row.rank for row in journal.read(LearntRow)}

    async def use(self, version: int) -> int:
        """Have every worker hold this version, as it was written to the run's directory."""
        await self.serve(version, load_policy(self._store, version) if version else None)
        return version

    async def serve(self, version: int, adapter: Adapter | None) -> None:
        """Have every worker hold the base and this adapter, under a version that is used for nothing else."""
        await self._cluster.set_policy(version, adapter, self._probe)
        self._version, self.adapter = version, adapter

    async def grow(
        self, version: int, learn: Callable[[], Awaitable[Adapter | None]], sequence: int, step: int, task_id: str
    ) -> None:
        """Learn one more passage, unless that was done before, and serve the result."""
        place = {"sequence": sequence, "step": step, "task_id": task_id}
        name = self._names.policies[version] = self._names.grown_policy(version, self._version, **place)
        if name in self._learnt:
            await self.serve(version, load_policy(self._store, version) if self._learnt[name] else None)
            return
        adapter = await learn()
        if adapter:
            save_policy(self._store, version, adapter)
        rank = adapter.rank if adapter else 0
        self._events.emit(LearntRow(name, task_id, version, sequence, step, rank))
        await self.serve(version, adapter)

    async def next(self, finetune: FinetuneSpec, kept: int) -> int:
        """Finetune, unless that was done before, and use the result; `kept` self-edits led to it."""
        version, settings = self._version + 1, self._config.update
        name = self._names.next_policy(version, self._version, finetune, settings.max_rank)
        self._names.policies[version] = name
        if name in self._finished:
            return await self.use(version)
        stage = f"round {version}: update on {kept} self-edits"
        self._events.emit(StageBegan(stage, 1))
        start = time.monotonic()
        result = await self._cluster.update(finetune, settings.max_rank)
        for warning in result.warnings:
            logger.warning("round %d: update: %s", version, warning)
        save_policy(self._store, version, result.adapter)
        self._events.emit(UpdateTrained(version, tuple(result.losses)))
        row = PolicyRow(
            name,
            version=version,
            parent=self._version,
            kept=kept,
            steps=len(result.losses),
            rank=result.adapter.rank,
            first_loss=result.losses[0],
            last_loss=result.losses[-1],
            compression_error=result.compression_error,
            seconds=time.monotonic() - start,
        )
        self._events.emit(row)
        self._events.emit(Advanced(stage))
        return await self.use(version)


CHECKSUMS_FILE = "checksums.json"


def policy_folder(version: int) -> str:
    return f"policies/{version:04d}"


def save_policy(store: Store, version: int, adapter: Adapter) -> None:
    """As a standard PEFT folder; the checksums last, so that a folder with checksums is whole."""
    adapter.check(f"policy {version}")
    with tempfile.TemporaryDirectory() as folder:
        adapter.save(folder)
        files = {name: (Path(folder) / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE)}
    files[CHECKSUMS_FILE] = json.dumps({name: checksum(data) for name, data in files.items()}, indent=2).encode()
    for name, data in files.items():
        store.write(f"{policy_folder(version)}/{name}", data)


def load_policy(store: Store, version: int) -> Adapter:
    """A policy as it was saved; `Damaged`, naming the command that sets it aside, when it is not."""
    where = policy_folder(version)
    try:
        files = {name: store.read(f"{where}/{name}") for name in (WEIGHTS_FILE, CONFIG_FILE)}
        known = f"{where}/{CHECKSUMS_FILE}"  # which 0.1.0 did not write
        wanted = json.loads(store.read(known)) if store.exists(known) else {}
        wrong = [name for name, sum_ in wanted.items() if checksum(files[name]) != sum_]
        if wrong:
            raise damage(store, f"{where}/{wrong[0]}", "its checksum differs")
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            return Adapter.load(folder)
    except FileNotFoundError:
        raise damage(store, where, "a file is missing") from None
    except Damaged:
        raise
    except (UserError, ValueError, KeyError, AttributeError) as error:
        raise damage(store, where, str(error)) from None


def repair_policies(store: Store) -> list[str]:
    """Set aside each policy on record that cannot be loaded, and have it trained again; returns what that was."""
    said = []
    for table in ("policies", "continual"):
        lost = {}
        for row in Journal(store).rows(table):
            if table == "policies" or row["rank"]:
                try:
                    load_policy(store, row["version"])
                except Damaged as error:
                    lost[row["version"]] = str(error)
        for version in lost:
            files = [set_aside(store, name) for name in store.walk(policy_folder(version))]
            said.append(f"policy {version}: {', '.join(files) or 'nothing of it'} is now in {ASIDE}/")
        if lost:
            forget(store, table, lost.keys())
    return said
