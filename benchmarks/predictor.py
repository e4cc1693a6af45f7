"""Whether a self-edit's reward can be foreseen well enough to leave its trial out: replayed on recorded runs.

python -m benchmarks predictor RUN_DIR…

Tasks are gone through in the order in which the run planned them. Of each, self-edits are tried in an order that is a
function of what was on record before it, until a share of all training steps is spent; the best that was tried is
kept. What would have been kept had all been tried is known, so what was given up is too. Of a self-edit is known what
it says, its strategy and its length, and after a first step its loss; its likelihood is not on record.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import between, resampled
from seal_ray.record.variety import near_duplicates
from seal_ray.record.written import round_number
from seal_ray.selection.foresight import FIRST, Foresight, features, traits
from seal_ray.selection.reliability import Array
from seal_ray.types import UserError

SHARES = (0.25, 0.5, 0.75)
"""Of a task's training steps, the most that may be spent; the first self-edit is tried whatever it takes."""
WORTHS = (0.1, 0.05, 0.02, 0.01, 0.005)
"""Where trials are done one after another: a task is over when its next trial promises to add less than this."""


@dataclass(frozen=True)
class Tried:
    """A self-edit with what came of it."""

    edit: SelfEditRow
    reward: float
    steps: int
    first_loss: float


@dataclass(frozen=True)
class Replayed:
    """A way to decide what is tried, with what it spent and gave up."""

    way: str
    spent: float
    """Share of the training steps."""
    kept: float
    """The mean reward of what was chosen, as a share of that of the best."""
    missed: float
    """Share of the tasks whose best self-edit was not tried, nor one as good."""
    tasks: int
    kept_between: tuple[float, float] = (math.nan, math.nan)
    missed_between: tuple[float, float] = (math.nan, math.nan)
    """The 95 % intervals of both, resampling tasks."""


def tasks_of(directory: str) -> list[list[Tried]]:
    """The self-edits of each task and round of a run of which all trials have ended, in the order they were planned."""
    journal = Journal(Store(directory))
    outcomes = {row.key: row for row in journal.read(OutcomeRow)}
    edits = {(r.stage, r.task_id, r.index): r for r in journal.read(SelfEditRow) if round_number(r.stage) is not None}
    trials: dict[tuple[str, str], dict[int, list[OutcomeRow | None]]] = defaultdict(lambda: defaultdict(list))
    for row in journal.read(PlannedRow):
        if (row.stage, row.task_id, row.index) in edits:
            trials[row.stage, row.task_id][row.index].append(outcomes.get(row.trial))
    found = []
    for (stage, task), own in trials.items():
        ended = {index: [each for each in rows if each] for index, rows in own.items() if all(rows)}
        if len(ended) == len(own) > 1:
            found.append([_tried(edits[stage, task, index], rows) for index, rows in sorted(ended.items())])
    return found


def _tried(edit: SelfEditRow, rows: Sequence[OutcomeRow]) -> Tried:
    losses = [row.first_loss for row in rows if row.first_loss is not None]
    reward, steps = fmean(row.reward or 0.0 for row in rows), sum(row.steps for row in rows)
    return Tried(edit, reward, steps, fmean(losses) if losses else math.nan)


Order = Callable[[Foresight, Array], Sequence[int]]
Decide = Callable[[Foresight, Array, Sequence[Tried]], list[int]]
"""Which of a task's self-edits are tried."""
Run = Sequence[Sequence[Tried]]


def replay(runs: Sequence[Run], rounds_before: bool = False, seed: int = 0) -> Iterator[Replayed]:
    """Every way at every budget, over the tasks of all runs; each run foresees from its own record alone.

    With `rounds_before` from what was on record when a task's round began, as it must where trials run side by side and
    what is decided may not depend on which of them ends first; its first round is then no part of the figures.
    """
    rng = np.random.default_rng(seed)

    def whole(way: str, decide: Decide, with_loss: bool = False, orders: int = 1) -> Replayed:
        return _whole(way, runs, rounds_before, with_loss, decide, orders)

    yield whole("all but near duplicates", _unlike)
    for share in SHARES:
        within = f"within {share:.0%} of the steps"
        yield whole(f"any order, {within}", _by_share(lambda f, x: rng.permutation(len(x)).tolist(), share), orders=40)
        yield whole(f"foreseen by the text, {within}", _by_share(_best_first, share))
        yield whole(f"and by the first loss, {within}", _by_share(_best_first, share), with_loss=True)
    for worth in WORTHS:
        yield whole(f"one by one, until {worth:g}", _in_turn(worth, with_features=False))
        yield whole(f"and foreseen by the text, until {worth:g}", _in_turn(worth, with_features=True))


def _best_first(foresight: Foresight, about: Array) -> Sequence[int]:
    order: Sequence[int] = np.argsort(-(about @ foresight.weights_F), kind="stable").tolist()
    return order


def _unlike(foresight: Foresight, about: Array, task: Sequence[Tried]) -> list[int]:
    again = near_duplicates([each.edit.completion for each in task])
    return [n for n, repeats in enumerate(again) if not repeats]


def _by_share(order: Order, share: float) -> Decide:
    def decide(foresight: Foresight, about: Array, task: Sequence[Tried]) -> list[int]:
        most, spent, chosen = share * sum(each.steps for each in task) + 1e-9, 0, list[int]()
        for n in order(foresight, about):
            spent += task[n].steps
            if chosen and spent > most:
                break
            chosen.append(n)
        return chosen

    return decide


def _in_turn(worth: float, with_features: bool) -> Decide:
    def decide(foresight: Foresight, about: Array, task: Sequence[Tried]) -> list[int]:
        tried: dict[int, float] = {}
        seen = about if with_features else np.zeros_like(about)
        while (pick := foresight.next(seen, tried, worth)) is not None:
            tried[pick] = task[pick].reward
        return list(tried)

    return decide


def _whole(
    way: str, runs: Sequence[Run], rounds_before: bool, with_loss: bool, decide: Decide, orders: int
) -> Replayed:
    spent, steps, figures = 0.0, 0.0, list[tuple[float, float, float]]()
    for tasks in runs:
        strategies = sorted({each.edit.strategy for task in tasks for each in task} - {""})
        seen = [(_features(t, strategies, with_loss), np.array([each.reward for each in t])) for t in tasks]
        for n, task in enumerate(tasks):
            known = sum(_round(each) < _round(task) for each in tasks) if rounds_before else n
            if known < FIRST:
                continue
            foresight, top = Foresight.of(seen[:known]), max(each.reward for each in task)
            rewards = list[float]()
            for _ in range(orders):
                chosen = decide(foresight, seen[n][0], task)
                rewards.append(max(task[m].reward for m in chosen))
                spent += sum(task[m].steps for m in chosen) + with_loss * (len(task) - len(chosen))  # a step each
                steps += sum(each.steps for each in task)
            figures.append((fmean(rewards), top, fmean(reward < top - 1e-9 for reward in rewards)))
    kept_T, best_T, missed_T = np.array(figures).T
    again = resampled(len(figures))
    kept = between(kept_T[again].mean(1) / best_T[again].mean(1))
    missed = between(missed_T[again].mean(1))
    share = kept_T.sum() / best_T.sum()
    return Replayed(way, spent / steps, float(share), float(missed_T.mean()), len(figures), kept, missed)


def _features(task: Sequence[Tried], strategies: Sequence[str], with_loss: bool) -> Array:
    losses = [each.first_loss for each in task] if with_loss else []
    edits = [each.edit for each in task]
    return features(traits(edits), [edit.strategy for edit in edits], strategies, losses)


def _round(task: Sequence[Tried]) -> int:
    return round_number(task[0].edit.stage) or 0


def measure(directories: Sequence[str], rounds_before: bool = False) -> list[Replayed]:
    """Read the runs and replay them."""
    runs = [tasks_of(directory) for directory in directories]
    for directory, tasks in zip(directories, runs, strict=True):
        known = [task for task in tasks if _round(task) < _round(tasks[-1])] if rounds_before else tasks[:-1]
        if len(known) < FIRST:
            before = "of a round before its last" if rounds_before else "before its last"
            raise UserError(
                f"{directory}: {len(known)} tasks {before} whose self-edits were all tried; it takes {FIRST}"
            )
    return list(replay(runs, rounds_before))


def table(found: Sequence[Replayed]) -> str:
    """A line for each way."""

    def of(share: float, between: tuple[float, float]) -> str:
        return f"{share:.1%} ({between[0]:.1%}–{between[1]:.1%})".replace("%–", "–").replace("%)", ")")

    lines = [f"{'tried':45} {'steps':>6}  {'reward kept':20}  winners missed"]
    lines += [
        f"{r.way:45} {r.spent:6.1%}  {of(r.kept, r.kept_between):20}  {of(r.missed, r.missed_between)}" for r in found
    ]
    return "\n".join([*lines, f"over {found[0].tasks} tasks, with 95 % intervals that resample them"])
