"""What a run's held-out tasks would give to whoever knew which decision to take: the ceiling over its self-edits.

Where a self-edit is a decision, a domain can list all of them. They are tried from the untouched base on more and more
tasks, the worst left behind each time, until few are left. The best are looked for on the very tasks they are
measured on, so these are ceilings and no baselines.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.domains.base import DiscreteActions
from seal_ray.domains.drawing import held_out_tasks
from seal_ray.domains.registry import load_domain
from seal_ray.events import Observer, StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.session import Session, open_run
from seal_ray.record.summary import Interval, cells
from seal_ray.record.written import ORACLE
from seal_ray.rundir.directory import recorded_config
from seal_ray.rundir.identity import identify
from seal_ray.selection.reward import TrialSummary, figure_of
from seal_ray.types import Task, UserError

_FIRST_TASKS, _GROWTH, _KEPT = 2, 3, 1 / 6
"""Tasks of each family in the first pass, how many times more in each next one, and the share that goes on to it."""


@dataclass(frozen=True)
class Best:
    """A decision, and its result on all held-out tasks of a family (or of all families)."""

    decision: str
    measured: Interval


@dataclass(frozen=True)
class Ceiling:
    fixed: Best
    families: dict[str, Best]
    per_family: Interval
    """Every task given the decision that is best for its family."""

    def arms(self) -> dict[str, Interval]:
        """The ceilings as further arms of a run's table."""
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
"""The trials of each decision, by task."""


def oracle(directory: str, *observers: Observer) -> Ceiling:
    """Try a domain's decisions on a run's held-out tasks; recorded in the run, so a second call does nothing again."""
    config = recorded_config(directory)
    domain = load_domain(config)
    if not isinstance(domain, DiscreteActions):
        raise UserError(f"{directory}: a self-edit of {config.domain.name!r} is no decision, so none is best")
    families: dict[str, list[Task]] = defaultdict(list)
    for task in held_out_tasks(config, domain):
        families[task.family].append(task)
    search = Search(domain, families)
    with open_run(config, domain, identify(config, domain), observers) as opened:
        opened.drive(search.over, probe=domain.prompt(next(iter(families.values()))[0]))
    return search.ceiling()


class Search:
    """Successive halving: all decisions on few tasks, the better ones on more, by family and over all."""

    def __init__(self, domain: DiscreteActions, families: dict[str, list[Task]]) -> None:
        self._families = families
        self._numbers = {text: index for index, text in enumerate(domain.candidates())}
        self._found: Tried = {text: {} for text in self._numbers}
        self._left = {family: list(self._numbers) for family in families}
        self._everywhere = list(self._numbers)

    def ceiling(self) -> Ceiling:
        return ceiling(self._found, self._everywhere, self._left, self._families)

    async def over(self, session: Session) -> None:
        """Try until every decision that is left was tried on every task."""
        count = _FIRST_TASKS
        while True:
            shown = {family: tasks[:count] for family, tasks in self._families.items()}
            await self._try(session, shown)
            if count >= max(map(len, self._families.values())):
                return
            every = [task for tasks in shown.values() for task in tasks]
            self._everywhere = best_of(self._found, self._everywhere, every)
            self._left = {family: best_of(self._found, self._left[family], tasks) for family, tasks in shown.items()}
            count *= _GROWTH

    async def _try(self, session: Session, shown: dict[str, list[Task]]) -> None:
        alive = {family: dict.fromkeys([*self._left[family], *self._everywhere]) for family in shown}
        wanted = [(text, task) for family, tasks in shown.items() for text in alive[family] for task in tasks]
        new = [(text, task) for text, task in wanted if task.id not in self._found[text]]
        session.events.emit(StageBegan(f"{ORACLE}: trials", len(new)))

        async def measure(text: str, task: Task) -> None:
            tried = await session.runner.try_text(ORACLE, task, text, self._numbers[text])
            self._found[text][task.id] = tried

        await all_of(measure(text, task) for text, task in new)


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
        return Best(text, figure_of({task.id: found[text][task.id] for task in tasks}))

    every_task = [task for tasks in families.values() for task in tasks]
    own = {family: best([*left[family], *everywhere], tasks) for family, tasks in families.items()}
    each = {task.id: found[own[family].decision][task.id] for family, tasks in families.items() for task in tasks}
    return Ceiling(best(everywhere, every_task), own, figure_of(each))
