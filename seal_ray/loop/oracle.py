"""What a run's held-out tasks would give to whoever knew which decision to take: the ceiling over its self-edits.

Where a self-edit is a decision, a domain can list all of them. They are tried from the untouched base on more and more
tasks, the worst left behind each time, until few are left. The best are looked for on the very tasks they are
measured on, so these are ceilings and no baselines.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.config import Config
from seal_ray.domains.base import DiscreteActions
from seal_ray.domains.registry import load_domain
from seal_ray.loop.place import TrialSummary
from seal_ray.loop.trials import TrialRunner
from seal_ray.observe.progress import Progress
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import Interval, Measured, cells, figure
from seal_ray.rundir.directory import claimed, recorded_config
from seal_ray.rundir.identity import identify
from seal_ray.rundir.keys import Names
from seal_ray.types import Task, UserError
from seal_ray.workers.cluster import RayCluster

STAGE = "oracle"
_FIRST_TASKS, _GROWTH, _KEPT = 2, 3, 1 / 6
"""Tasks of each family in the first pass, how many times more in each next one, and the share that goes on to it."""


@dataclass(frozen=True)
class Best:
    """A decision, and what it comes to on all held-out tasks of a family (or of all families)."""

    decision: str
    measured: Interval


@dataclass(frozen=True)
class Ceiling:
    fixed: Best
    families: dict[str, Best]
    per_family: Interval
    """Every task given the decision that is best for its family."""

    def arms(self) -> dict[str, Interval]:
        """As further rows of a run's table."""
        return {"best fixed decision": self.fixed.measured, "best decision per family": self.per_family}

    def lines(self) -> list[str]:
        every = {
            "best of all": self.fixed,
            **{f"best for {name}": best for name, best in self.families.items() if name},
        }
        return [f"{name}: {best.decision} ({_shown(best.measured)})" for name, best in every.items()]


def _shown(m: Interval) -> str:
    mean, _, _, failed = cells(m)
    return f"{mean}, failed trials: {failed}" if m.failed else mean


Tried = dict[str, dict[str, TrialSummary]]
"""By decision, then by task."""


def oracle(directory: str, progress: Progress) -> Ceiling:
    """Try a domain's decisions on a run's held-out tasks; recorded in the run, so a second call does nothing again."""
    config = recorded_config(directory)
    domain = load_domain(config)
    if not isinstance(domain, DiscreteActions):
        raise UserError(f"{directory}: a self-edit of {config.domain.name!r} is no decision, so none is best")
    identity, store = identify(config, domain), Store(config.dir)
    try:
        with claimed(store, config, identity) as claim:
            journal, names = Journal(store, claim.run), Names.of(identity, claim.since)
            journal.begin()
            return asyncio.run(_search(config, domain, journal, progress, names))
    finally:
        progress.close()


async def _search(
    config: Config, domain: DiscreteActions, journal: Journal, progress: Progress, names: Names
) -> Ceiling:
    families: dict[str, list[Task]] = defaultdict(list)
    for task in domain.tasks("test", config.domain.test or None, config.run.seed):
        families[task.family].append(task)
    numbers = {text: index for index, text in enumerate(domain.candidates())}
    found: Tried = {text: {} for text in numbers}
    left = {family: list(numbers) for family in families}
    everywhere, count = list(numbers), _FIRST_TASKS
    async with RayCluster(config, on_span=lambda span: None) as cluster:
        runner = TrialRunner(config, domain, cluster, journal, progress, names)

        async def measure(text: str, task: Task) -> None:
            found[text][task.id] = await runner.try_text(STAGE, task, text, numbers[text])

        try:
            while True:
                shown = {family: tasks[:count] for family, tasks in families.items()}
                alive = {family: dict.fromkeys([*left[family], *everywhere]) for family in families}
                wanted = [(text, task) for family in families for text in alive[family] for task in shown[family]]
                new = [(text, task) for text, task in wanted if task.id not in found[text]]
                progress.begin(f"{STAGE}: trials", len(new))
                await asyncio.gather(*(measure(text, task) for text, task in new))
                if count >= max(map(len, families.values())):
                    return ceiling(found, everywhere, left, families)
                everywhere = best_of(found, everywhere, [task for tasks in shown.values() for task in tasks])
                left = {family: best_of(found, left[family], tasks) for family, tasks in shown.items()}
                count *= _GROWTH
        finally:
            journal.flush()


def best_of(found: Tried, decisions: Sequence[str], tasks: Sequence[Task]) -> list[str]:
    """The share that goes on: the best, those first in the list first among equals."""
    ranked = sorted(decisions, key=lambda text: -fmean(found[text][task.id].reward for task in tasks))
    return ranked[: math.ceil(len(ranked) * _KEPT)]


def ceiling(
    found: Tried, everywhere: Sequence[str], left: dict[str, list[str]], families: dict[str, list[Task]]
) -> Ceiling:
    """The best decision for all tasks, and the best for each family."""

    def best(decisions: Sequence[str], tasks: Sequence[Task]) -> Best:
        text = max(decisions, key=lambda text: fmean(found[text][task.id].reward for task in tasks))
        return Best(text, _figure({task.id: found[text][task.id] for task in tasks}))

    every_task = [task for tasks in families.values() for task in tasks]
    own = {family: best([*left[family], *everywhere], tasks) for family, tasks in families.items()}
    each = {task.id: found[own[family].decision][task.id] for family, tasks in families.items() for task in tasks}
    return Ceiling(best(everywhere, every_task), own, _figure(each))


def _figure(tried: Mapping[str, TrialSummary]) -> Interval:
    """What one trial of each task comes to, with the share that failed."""
    whole = Measured()
    for task, known in tried.items():
        whole.rewards[task].append(known.reward)
        whole.reasons.update([known.problem] if known.problem else ())
    return figure([whole])
