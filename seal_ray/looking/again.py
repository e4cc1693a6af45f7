"""One trial done again: in this process, alone, from a run's directory, of which nothing is changed."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace

from seal_ray import grading
from seal_ray.config import Config
from seal_ray.domains.registry import load_domain
from seal_ray.events import Event, Events
from seal_ray.looking.explained import Explained, trains_nothing
from seal_ray.loop.memory import DIGITS, remembered
from seal_ray.loop.place import Place
from seal_ray.loop.retract import in_this_process
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.policy.lineage import Row, adapter_of, lineage
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded, refuse_another_base
from seal_ray.rundir.keys import Names
from seal_ray.types import AdapterRef, Policy, Task, UserError
from seal_ray.workers.in_process import InProcessCluster


@dataclass(frozen=True)
class Again:
    """What came of a trial now, beside what is on record of it."""

    then: OutcomeRow
    now: OutcomeRow

    @property
    def same(self) -> dict[str, bool]:
        """What came out the same."""
        names = ("reward", "answers", "failure")
        same = {name: getattr(self.then, name) == getattr(self.now, name) for name in names}
        if self.then.forgotten is None or self.now.forgotten is None:
            return same
        return same | {"forgotten": abs(self.then.forgotten - self.now.forgotten) < 2 * 10**-DIGITS}

    def lines(self) -> list[str]:
        """A line for each thing that is compared."""
        then, now, same = self.then, self.now, self.same
        differ = sum(a != b for a, b in zip(then.answers, now.answers, strict=False))
        differ += abs(len(then.answers) - len(now.answers))
        answers = "the same" if same["answers"] else f"{differ} of {len(then.answers)} came out otherwise"
        reward = "the same" if same["reward"] else f"{then.reward} then"
        failure = "" if same["failure"] else f"failure: {now.failure or 'none'}, {then.failure or 'none'} then"
        forgotten = "the same" if same.get("forgotten") else f"{then.forgotten} then"
        cost = f"forgotten again: {now.forgotten} ({forgotten})" if "forgotten" in same else ""
        told = [f"reward again: {now.reward} ({reward})", cost, f"answers again: {answers}", failure]
        return [line for line in told if line]


class _Outcomes:
    """Keeps the outcomes that a runner tells of."""

    def __init__(self) -> None:
        self.found: list[OutcomeRow] = []

    def on(self, event: Event) -> None:
        if isinstance(event, OutcomeRow):
            self.found.append(event)

    def close(self) -> None: ...


def again(directory: str, trial: Explained) -> Again:
    """Do a trial again, and put it beside what is on record."""
    if trial.hindrance or not trial.outcome or not trial.task:
        raise UserError(f"trial {trial.key} cannot be done again alone: {trial.hindrance}")
    refuse_another_base(directory)
    now = asyncio.run(_done(directory, trial, trial.task, in_this_process(trial.config)))
    if now.key != trial.key and not trial.outcome.failure:
        raise UserError(f"trial {trial.key}: what is here makes another trial ({now.key}), so nothing is compared")
    return Again(trial.outcome, now)


async def _done(directory: str, trial: Explained, task: Task, config: Config) -> OutcomeRow:
    store, domain, outcomes = Store(directory), load_domain(config), _Outcomes()
    found = recorded(store)
    assert found, "its config was read a moment ago"
    names = Names.of(found.identity, found.since)
    async with (
        InProcessCluster(config, lambda span: None) as cluster,
        grading.at_work(grading.grader_of(domain), cluster.ask),
    ):
        shop = Workshop(config, domain, cluster, Journal(store), Events(), names)
        with tempfile.TemporaryDirectory() as empty:
            runner = TrialRunner(replace(shop, journal=Journal(Store(empty)), events=Events(outcomes)))
        runner.policy = policy = names.base if trial.of_base else _policy(store, names, trial.place.policy)
        adapters = {}
        if policy.adapter.key:
            adapters[policy.adapter] = adapter_of(store, _row(store, policy.version))
        await cluster.hold(adapters, domain.prompt(task))
        runner.memory = await remembered(shop, policy)
        await _tried(runner, trial, task)
    return outcomes.found[-1]


async def _tried(runner: TrialRunner, trial: Explained, task: Task) -> None:
    row = trial.place
    if trains_nothing(row):
        await runner.ask(row.stage, row.arm, [task])
    elif trial.baseline:
        place = Place(row.stage, row.arm, row.task_id, row.index)
        await runner.try_baseline(place, trial.baseline, task, row.replicate)
    else:
        await runner.try_text(row.stage, task, trial.text or "", row.index, row.replicate, trial.strategy)


def _policy(store: Store, names: Names, version: int) -> Policy:
    """The policy of that number, as the run names it; the base where no warm start came before the first round."""
    if not version and not any(row.version == 0 for row in Journal(store).read(PolicyRow)):
        return names.base
    row = _row(store, version)
    ref = AdapterRef(row.adapter) if row.adapter or not row.rank else adapter_of(store, row).ref
    return Policy(row.key, version, ref)


def _row(store: Store, version: int) -> Row:
    every = [row for rows in lineage(Journal(store)).values() for row in rows]
    found = next((row for row in every if row.version == version), None)
    if found is None:
        raise UserError(f"{store.url}: policy {version} is not on record")
    return found
