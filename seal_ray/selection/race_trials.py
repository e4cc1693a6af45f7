"""What racing saves: on a recorded round's trials (`replay`), and where the true rewards are known (`simulate`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seal_ray.published.read import Passage, read_record
from seal_ray.selection.racing import Race, RaceConfig
from seal_ray.selection.reliability import Array, Prior, reliability
from seal_ray.types import UserError


def recorded_rewards(path: str | Path) -> list[Array]:
    """The rewards of a recorded round, candidate by seed for each passage that has something to choose and repeat."""
    tasks = [_rewards_CS(passage) for passage in read_record(path).passages]
    tasks = [rewards_CS for rewards_CS in tasks if min(rewards_CS.shape) > 1]
    if len(tasks) < 2:
        raise UserError(f"{path}: no race to replay; it takes two passages with two self-edits of two seeds each")
    return tasks


def _rewards_CS(passage: Passage) -> Array:
    rewards: list[list[float]] = []
    for completion in passage.completions:
        verdicts: dict[int, list[bool]] = {}
        for row in completion.verdicts:
            verdicts.setdefault(row.rep, []).append(row.adapter_correct)
        if verdicts:
            rewards.append([float(np.mean(verdicts[rep])) for rep in sorted(verdicts)])
    seeds = min(map(len, rewards), default=0)
    return np.array([row[:seeds] for row in rewards], dtype=float).reshape(len(rewards), seeds)


def replay(tasks: Sequence[Array], orders: int = 40) -> dict[str, float]:
    """Race recorded rewards, candidate by seed, for the mean of all their seeds: what is tried, and what given up.

    `regret` is how many points the picked candidate's mean reward lies below the best one's. A seed's place in a record
    says nothing, so all is averaged over random orders of each candidate's seeds. No task is raced with a prior
    that has seen it: each half of the tasks lends noise and spread to the other. `halving_*` is plain successive
    halving on the same orders: each next seed for the best 60 %.
    """
    priors = [Prior.estimate([task.tolist() for task in tasks[1 - half :: 2]]) for half in (0, 1)]
    rng = np.random.default_rng(0)
    raced_TO, halved_TO = np.zeros((len(tasks), orders)), np.zeros((len(tasks), orders))
    trials, halving_trials = 0, 0
    for index, rewards_CS in enumerate(tasks):
        config = RaceConfig(rewards_CS.size, rewards_CS.shape[1])
        mean_C = rewards_CS.mean(1)
        for order in range(orders):
            shuffled_CS = rng.permuted(rewards_CS, axis=1)
            race = _run(shuffled_CS, config, priors[index % 2])
            raced_TO[index, order] = mean_C.max() - mean_C[race.best() or 0]
            trials += race.trials
            pick, spent = _halving(shuffled_CS)
            halved_TO[index, order] = mean_C.max() - mean_C[pick]
            halving_trials += spent
    return {
        "tasks": len(tasks),
        "trials_recorded": float(np.mean([task.size for task in tasks])),
        "trials_per_task": trials / raced_TO.size,
        "regret": 100 * float(raced_TO.mean()),
        "regret_error": 100 * float(raced_TO.mean(1).std(ddof=1)) / len(tasks) ** 0.5,
        "picked_best": float((raced_TO < 1e-9).mean()),
        "halving_trials_per_task": halving_trials / raced_TO.size,
        "halving_regret": 100 * float(halved_TO.mean()),
        "reliability": reliability([task.tolist() for task in tasks]) or 0.0,
        "spread": 100 * float(np.mean([prior.spread for prior in priors])),
        "noise": 100 * float(np.mean([prior.noise for prior in priors])),
    }


def _run(rewards_CS: Array, config: RaceConfig, prior: Prior) -> Race:
    race = Race(len(rewards_CS), config, prior)
    while trials := race.ask():
        for trial in trials:
            race.tell(trial, float(rewards_CS[trial]))
    return race


def _halving(rewards_CS: Array) -> tuple[int, int]:
    """Pick and trials of successive halving."""
    alive, spent = list(range(len(rewards_CS))), len(rewards_CS)
    for seeds in range(1, rewards_CS.shape[1]):
        alive = sorted(alive, key=lambda c: -rewards_CS[c, :seeds].mean())[: math.ceil(0.6 * len(alive))]
        spent += len(alive)
    return max(alive, key=lambda c: rewards_CS[c].mean()), spent


@dataclass(frozen=True)
class Nature:
    """Simulated tasks: three to five questions, each as hard as it is, and self-edits that help each a bit or not.

    All standard deviations in log-odds of an answer being right. The defaults have the recorded noise: about 16 points
    between seeds, 8 and more between self-edits; the mean of three seeds keeps 6.4 points with 5 candidates and
    9.8 with 16.
    """

    mean: float = -0.55
    task: float = 0.6
    question: float = 2.0
    edit: float = 0.3
    edit_on_question: float = 1.04

    def draw(self, rng: np.random.Generator, tasks: int, candidates: int, seeds: int) -> tuple[Array, Array]:
        """True rewards, task by candidate, and measured ones, task by candidate by seed."""
        asked_TQ = np.arange(5) < rng.choice([3, 4, 5, 5], size=(tasks, 1))
        question_TQ = self.mean + self.task * rng.normal(size=(tasks, 1)) + self.question * rng.normal(size=(tasks, 5))
        helps_TC1 = self.edit * rng.normal(size=(tasks, candidates, 1))
        helps_TCQ = helps_TC1 + self.edit_on_question * rng.normal(size=(tasks, candidates, 5))
        right_TCQ = asked_TQ[:, None] / (1 + np.exp(-question_TQ[:, None] - helps_TCQ))
        asked_T = asked_TQ.sum(1)
        verdict_TCSQ = rng.random((tasks, candidates, seeds, 5)) < right_TCQ[:, :, None]
        return right_TCQ.sum(2) / asked_T[:, None], verdict_TCSQ.sum(3) / asked_T[:, None, None]


def simulate(candidates: int, budget: int, tasks: int, worth: float = 0.0) -> dict[str, float]:
    """Race simulated tasks whose true rewards are known; all gains in points of true reward over a random candidate.

    The prior comes from fifty other tasks with three seeds each, as from the round before. `uniform_gain` is an even
    split of the budget, on the same tasks.
    """
    nature, rng = Nature(), np.random.default_rng(0)
    measured = nature.draw(rng, 50, candidates, 3)[1]
    prior = Prior.estimate(measured.tolist())
    uniform, raced, ceiling, trials = [], [], [], []
    for _ in range(tasks):
        (true_C,), (rewards_CS,) = nature.draw(rng, 1, candidates, budget)
        race = _run(rewards_CS, RaceConfig(budget, None, worth), prior)
        even = int(np.argmax(rewards_CS[:, : budget // candidates].mean(1)))
        raced.append(true_C[race.best() or 0] - true_C.mean())
        uniform.append(true_C[even] - true_C.mean())
        ceiling.append(true_C.max() - true_C.mean())
        trials.append(race.trials)
    return {
        "candidates": candidates,
        "budget": budget,
        "tasks": tasks,
        "trials_per_task": float(np.mean(trials)),
        "gain": 100 * float(np.mean(raced)),
        "uniform_gain": 100 * float(np.mean(uniform)),
        "difference_error": 100 * float(np.std(np.subtract(raced, uniform), ddof=1)) / tasks**0.5,
        "best_possible_gain": 100 * float(np.mean(ceiling)),
        "spread": 100 * prior.spread,
        "noise": 100 * prior.noise,
        "reliability": reliability(measured.tolist()) or 0.0,
    }


def simulations(tasks: int = 1000) -> dict[str, float]:
    """`simulate` at the two sizes of a round, the paper's and a wide one: `gain_CANDIDATES_TRIALS` and so on.

    `reliability` is that of the mean of three seeds of each of five candidates.
    """
    found: dict[str, float] = {}
    for candidates, budget in ((5, 15), (16, 48)):
        result = simulate(candidates, budget, tasks)
        size = f"{candidates}_{budget}"
        found |= {f"{name}_{size}": result[name] for name in ("gain", "uniform_gain", "best_possible_gain")}
        found[f"error_{size}"] = result["difference_error"]
        found.setdefault("reliability", result["reliability"])
    return {"tasks": tasks, **found}
