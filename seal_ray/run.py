"""The outer loop: sample self-edits, try them, keep the best, finetune the policy on them; measure; again.

    from seal_ray import config, run
    summary = run.run(config.load("jobs/microworld.toml"))

A run lives in one directory. Giving the same config again continues it: what the journal holds is not done
again, and the result is that of an undisturbed run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from seal_ray import grading, plugins
from seal_ray.bank.adapter import CONFIG_FILE, WEIGHTS_FILE, Adapter
from seal_ray.config import Config, difference, parse
from seal_ray.domains.base import Domain
from seal_ray.domains.registry import load_domain
from seal_ray.journal import Journal
from seal_ray.lab import Lab
from seal_ray.models import resolve
from seal_ray.questions import with_questions
from seal_ray.storage import Store
from seal_ray.summary import UNTRAINED, Interval, summarize
from seal_ray.types import Example, Prompt, Task, UserError, content_key, derive_seed
from seal_ray.ui import Progress
from seal_ray.update.select import RULES, Candidate, Rule
from seal_ray.workers.crew import Crew, Span
from seal_ray.workers.sampler import EngineSpec

logger = logging.getLogger(__name__)

CONFIG = "config.json"


def run(config: Config, progress: Progress, force: bool = False) -> dict[str, Interval]:
    """Do, or continue, a whole run; returns held-out accuracy per arm."""
    domain = load_domain(config)
    rule: Rule = plugins.find("selection.rule", config.selection.rule, RULES)
    EngineSpec.of(config)  # what cannot work is refused before the directory is touched
    resolve(config.model.path)
    store = Store(config.dir)
    lock = store.lock()
    try:
        claim(store, config, force)
        journal = Journal(store)
        journal.compact()
        try:
            asyncio.run(_rounds(config, domain, rule, store, journal, progress))
        finally:
            journal.flush()
        return summarize(journal)
    finally:
        progress.close()
        if lock:
            lock.close()


async def _rounds(
    config: Config, domain: Domain, rule: Rule, store: Store, journal: Journal, progress: Progress
) -> None:
    held_out = domain.tasks("test", config.domain.test or None, config.run.seed)

    async def ready(tasks: Sequence[Task]) -> Sequence[Task]:
        return await with_questions(tasks, domain, config.questions, journal, crew.ask, progress)

    async with (
        Crew(config, on_span=lambda span: journal.append("spans", _span_row(span))) as crew,
        grading.at_work(getattr(domain, "grader", None), crew.ask),
    ):
        lab = Lab(config, domain, crew, journal, progress)
        policies = Policies(config, store, journal, crew, probe=domain.prompt(held_out[0]))
        await policies.use(0)
        held_out = await ready(held_out)
        for round_ in range(1, config.run.rounds + 1):
            fresh = round_ if config.domain.fresh else 1
            drawn = domain.tasks("train", config.domain.train or None, derive_seed(config.run.seed, "round", fresh))
            tasks = await ready(drawn)
            _, candidates = await asyncio.gather(
                _evaluate(lab, config, held_out), lab.explore(round_, tasks, rule.needs_rewards)
            )
            kept = choose(rule, candidates, config.run.seed, round_)
            journal_kept(journal, kept, round_)
            lab.policy = await policies.next(kept, progress)
        await _evaluate(lab, config, held_out)


async def _evaluate(lab: Lab, config: Config, held_out: Sequence[Task]) -> None:
    """Measure the policy as it is, on tasks that it never learns from; the baselines once, with the untrained one."""
    untrained = lab.policy == 0
    baselines = config.evaluation.baselines if untrained else ()
    together, arm = config.evaluation.together, UNTRAINED if untrained else f"after round {lab.policy}"
    measures = [
        lab.measure_together(name, held_out, with_edits=False)
        if together and name == "passage only"
        else lab.measure_baseline(name, held_out)
        for name in baselines
    ]
    if config.evaluation.samples and (config.evaluation.every_round or lab.policy == config.run.rounds):
        measure = lab.measure_together(arm, held_out, with_edits=True) if together else lab.measure(arm, held_out)
        measures.append(measure)
    await asyncio.gather(*measures)


def choose(rule: Rule, candidates: dict[str, list[Candidate]], seed: int, round_: int) -> list[Candidate]:
    kept = [c for task, found in candidates.items() for c in rule.choose(found, derive_seed(seed, round_, task))]
    if not kept:
        raise UserError(f"round {round_}: no self-edit taught anything (every reward is 0); nothing to learn from")
    return kept


def journal_kept(journal: Journal, kept: Sequence[Candidate], round_: int) -> None:
    """Put the choice on record, once."""
    known = {row["key"] for row in journal.rows("kept")}
    for c in kept:
        row = {"stage": f"round {round_}", "task_id": c.edit.task_id, "index": c.edit.index, "self_edit": c.edit.key}
        key = content_key(*row.values())
        if key not in known:
            journal.append("kept", {"key": key, "reward": c.reward, **row})


class Policies:
    """The versions of the policy: 0 is the untouched base, each next one the base plus a single adapter."""

    def __init__(self, config: Config, store: Store, journal: Journal, crew: Crew, probe: Prompt) -> None:
        self._config, self._store, self._journal, self._crew = config, store, journal, crew
        self._probe = probe
        self._version = 0
        self._finished = {row["version"] for row in journal.rows("policies")}

    async def use(self, version: int) -> int:
        """Have every worker hold this version, as it was written to the run's directory."""
        adapter = load_policy(self._store, version) if version else None
        await self._crew.set_policy(version, adapter, self._probe)
        self._version = version
        return version

    async def next(self, kept: Sequence[Candidate], progress: Progress) -> int:
        """Finetune on the kept self-edits, unless that was done before, and use the result."""
        version = self._version + 1
        if version in self._finished:
            return await self.use(version)
        settings, seed = self._config.update, derive_seed(self._config.run.seed, "update", version)
        examples = [Example(c.edit.completion, c.edit.prompt) for c in kept]
        progress.begin(f"round {version}: update on {len(examples)} self-edits", 1)
        start = time.monotonic()
        result = await self._crew.update(examples, settings.lora, settings.optim, seed, settings.max_rank)
        save_policy(self._store, version, result.adapter)
        row = {
            "key": str(version),
            "version": version,
            "parent": self._version,
            "kept": len(examples),
            "steps": len(result.losses),
            "first_loss": result.losses[0],
            "last_loss": result.losses[-1],
            "rank": result.adapter.rank,
            "compression_error": result.compression_error,
            "seconds": time.monotonic() - start,
        }
        self._journal.append("policies", row)
        self._journal.flush()
        progress.advance(f"round {version}: update on {len(examples)} self-edits")
        return await self.use(version)


def policy_folder(version: int) -> str:
    return f"policies/{version:04d}"


def save_policy(store: Store, version: int, adapter: Adapter) -> None:
    """As a standard PEFT folder; the weights first, so that a folder with a config is whole."""
    with tempfile.TemporaryDirectory() as folder:
        adapter.save(folder)
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            store.write(f"{policy_folder(version)}/{name}", (Path(folder) / name).read_bytes())


def load_policy(store: Store, version: int) -> Adapter:
    with tempfile.TemporaryDirectory() as folder:
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            (Path(folder) / name).write_bytes(store.read(f"{policy_folder(version)}/{name}"))
        return Adapter.load(folder)


def claim(store: Store, config: Config, force: bool) -> None:
    """Make the directory this config's. Another run found there stops this one, or with `force` is moved aside."""
    mine = config.identity()
    if store.exists(CONFIG):
        lines = difference(json.loads(store.read(CONFIG)).get("identity", {}), mine)
        if not lines:
            return
        if not force:
            raise UserError(
                f"{store.url}: holds a run with another config ({'; '.join(lines)}); choose another --run.dir, "
                "give the config it was started with, or move it aside with --force"
            )
        store.set_aside()
    tree = {"identity": mine, "config": config.model_dump(mode="json")}
    store.write(CONFIG, json.dumps(tree, indent=2).encode())


def recorded_config(directory: str) -> Config:
    """The config a run was started with; it lives where it is now, wherever it was begun."""
    store = Store(directory)
    if not store.exists(CONFIG):
        raise UserError(f"{directory}: no run is here ({CONFIG} is missing)")
    tree = json.loads(store.read(CONFIG)).get("config")
    if tree is None:
        raise UserError(f"{directory}: holds an imported record, not a run of its own")
    tree["run"]["dir"] = directory
    return parse(tree, f"{directory}/{CONFIG}")


def _span_row(span: Span) -> dict[str, object]:
    row = {"what": span.what, "worker": span.worker, "start": span.start, "end": span.end}
    return {"key": content_key(*row.values()), "stage": "", **row}
