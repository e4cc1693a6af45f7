"""Whether settings that are chosen for each task by itself can beat the same settings for all.

python -m benchmarks per-task jobs/microworld.toml --on passage

Every setting is tried on every task with two seeds. Then settings are chosen in several ways, none of which has seen
the trials that it is judged by: the same for all; by features of the task, from what other tasks taught; by bandits
that go through the tasks once; and by a look at the task's own trial with the other seed, which no foresight can know
more than.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from seal_ray.config import Config
from seal_ray.events import Observer
from seal_ray.loop.run import stand_on
from seal_ray.loop.session import Session, open_run
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.summary import Interval, interval
from seal_ray.rundir.tuned import STAGE
from seal_ray.tuning.account import Known
from seal_ray.tuning.costs import Costs
from seal_ray.tuning.space import Settings, candidates, parse_axes
from seal_ray.tuning.trying import Ground, On, attempt
from seal_ray.types import UserError, derive_seed

Array = NDArray[np.float64]

_RIDGE = 10.0
"""What the squares of the weights count, beside one error of each task; features are in units of their spread."""
_AS_GOOD = 0.02
"""By how much less the cheapest may promise than the start."""
_ORDERS = 200
"""In which a bandit goes through the tasks."""
_NOISE = 0.2
"""How far a bandit believes a reward to lie from its mean."""


@dataclass(frozen=True)
class Tried:
    """Every setting, the start first, on every task with both seeds."""

    names: tuple[str, ...]
    rewards: Array
    """`[settings, tasks, seeds]`."""
    features: Array
    """`[tasks, features]`: what is known of a task before it is trained on."""
    costs: Array
    """Operations of each setting, as a share of the start's."""


@dataclass(frozen=True)
class Chosen:
    """A way to choose, with what came of its choices on trials that it had not seen."""

    way: str
    reward: Interval
    over: Interval
    """Over the start, task by task."""
    flops: float
    """As a share of the start's."""


def ways(tried: Tried) -> list[Chosen]:
    """All ways to choose, the start first."""
    settings, tasks, _ = tried.rewards.shape
    if settings < 2 or tasks < 3:
        raise UserError(f"{settings} settings on {tasks} tasks: give two and three, or more")
    return [_judged(tried, name, np.array(picks)) for name, picks in _picks(tried)]


def _picks(tried: Tried) -> Iterator[tuple[str, list[Array]]]:
    """By way, for each seed that is judged, a row for each task: with which weight each setting is chosen."""
    tasks, means = range(tried.rewards.shape[1]), tried.rewards.mean(2)

    def elsewhere(task: int, seed: int) -> Array:
        mean: Array = np.delete(means, task, 1).mean(1)
        return mean

    def by_features(task: int, seed: int) -> Array:
        return foreseen(tried, task)

    def other_seed(task: int, seed: int) -> Array:
        found: Array = tried.rewards[:, task, 1 - seed]
        return found

    def best(promised: Array) -> int:
        return int(promised.argmax())

    def cheapest(promised: Array) -> int:
        enough = np.flatnonzero(promised >= promised[0] - _AS_GOOD)
        return int(enough[np.argmin(tried.costs[enough])])

    def picked(promise: Callable[[int, int], Array], choice: Callable[[Array], int]) -> list[Array]:
        return [np.eye(len(means))[[choice(promise(task, seed)) for task in tasks]] for seed in (0, 1)]

    yield "the start", picked(elsewhere, lambda promised: 0)
    yield "the best on the other tasks", picked(elsewhere, best)
    yield "the cheapest as good on the other tasks", picked(elsewhere, cheapest)
    yield "the best by features", picked(by_features, best)
    yield "the cheapest as good by features", picked(by_features, cheapest)
    yield "a bandit over the tasks", [_bandit(tried, seed) for seed in (0, 1)]
    yield "the best at the other seed", picked(other_seed, best)
    yield "the cheapest as good there", picked(other_seed, cheapest)


def foreseen(tried: Tried, task: int) -> Array:
    """What each setting promises on a task: its mean on the others, and how it went with their features there."""
    scaled = (tried.features - tried.features.mean(0)) / (tried.features.std(0) + 1e-9)
    others = np.delete(np.arange(len(scaled)), task)
    x_NF, means = scaled[others] - scaled[others].mean(0), tried.rewards.mean(2)[:, others]
    y_NS = (means - means.mean(1, keepdims=True)).T
    weights_FS = np.linalg.solve(x_NF.T @ x_NF + _RIDGE * np.eye(x_NF.shape[1]), x_NF.T @ y_NS)
    promised: Array = means.mean(1) + (scaled[task] - scaled[others].mean(0)) @ weights_FS
    return promised


def _bandit(tried: Tried, seed: int) -> Array:
    """Thompson sampling: one setting a task, chosen by what those before earned; how often each was, over orders."""
    settings, tasks, _ = tried.rewards.shape
    rng, picked = np.random.default_rng(seed), np.zeros((tasks, settings))
    for _ in range(_ORDERS):
        sums, counts = np.zeros(settings), np.zeros(settings)
        for task in rng.permutation(tasks):
            believed = (sums + tried.rewards.mean()) / (counts + 1)
            choice = int((believed + _NOISE / np.sqrt(counts + 1) * rng.standard_normal(settings)).argmax())
            picked[task, choice] += 1 / _ORDERS
            sums[choice] += tried.rewards[choice, task, seed]
            counts[choice] += 1
    return picked


def _judged(tried: Tried, way: str, picks: Array) -> Chosen:
    """By seed, the rewards of what was chosen."""
    earned = np.einsum("kts,stk->t", picks, tried.rewards) / len(picks)
    return Chosen(
        way,
        interval(earned.tolist()),
        interval((earned - tried.rewards[0].mean(1)).tolist()),
        float((picks @ tried.costs).mean()),
    )


def measure(
    config: Config, *observers: Observer, settings: int, tasks: int, axes: str, on: On, into: str
) -> tuple[Tried, list[Chosen]]:
    """Try what is not on record in the directory, and judge."""
    ground = Ground.of(config, into, on)
    config, domain = ground.ready.config, ground.ready.domain
    spread = parse_axes(axes, Settings.of(config), config)
    seed, field = derive_seed(STAGE, config.run.seed), list[Settings]()
    known: tuple[dict[Settings, Known], ...] = ({}, {})

    async def over(session: Session) -> None:
        await stand_on(session, await session.policies.begin())
        texts = await ground.texts(session, tasks, seed)
        longest = max(len(recipe.examples) for _, recipe in texts)
        field.extend(candidates(config, spread, longest, seed)[:settings])
        for replicate, found in enumerate(known):
            await attempt(session, field, texts, found, replicate)

    with open_run(config, domain, ground.ready.identity, observers) as opened:
        opened.drive(over, probe=domain.prompt(ground.drawn[0]))
        tried = _tried(field, known, opened.journal, Costs.of(config, field))
    return tried, ways(tried)


def _tried(field: Sequence[Settings], known: Sequence[dict[Settings, Known]], journal: Journal, costs: Costs) -> Tried:
    ids = list(known[0][field[0]])
    rewards = np.array([[[found[each][task].reward for found in known] for task in ids] for each in field])
    flops = np.array([costs.flops(each) for each in field])
    return Tried(
        tuple(each.name for each in field), rewards, _features(field[0], ids, journal), flops / (flops[0] or 1.0)
    )


def _features(start: Settings, ids: Sequence[str], journal: Journal) -> Array:
    """How long a task's text is, how many pieces it has, and the loss that training begins with."""
    outcomes = {row.key: row for row in journal.read(OutcomeRow)}
    found: dict[str, list[OutcomeRow]] = {task: [] for task in ids}
    for row in journal.read(PlannedRow):
        if row.stage == STAGE and row.arm == start.name and row.task_id in found and row.trial in outcomes:
            found[row.task_id].append(outcomes[row.trial])
    return np.array([_feature_row(own) for own in found.values()])


def _feature_row(own: Sequence[OutcomeRow]) -> tuple[float, float, float]:
    tokens, steps = fmean(math.log(max(1, row.tokens)) for row in own), fmean(row.steps for row in own)
    return tokens, steps, fmean(row.first_loss or 0.0 for row in own)


def table(tried: Tried, found: Sequence[Chosen]) -> str:
    """Markdown: a row for each way."""
    settings, tasks, _ = tried.rewards.shape
    lines = [f"{settings} settings on {tasks} tasks, two seeds each", ""]
    lines += ["| chosen | reward | over the start, points | FLOPs |", "|---|---|---|---|"]
    for each in found:
        over = f"{100 * each.over.accuracy:+.1f} ({100 * each.over.low:+.1f} to {100 * each.over.high:+.1f})"
        lines.append(f"| {each.way} | {each.reward.accuracy:.1%} | {over} | {each.flops:.2f} |")
    return "\n".join(lines)
