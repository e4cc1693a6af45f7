"""Journals of runs that never happened: seeded rows, written with the journal's own functions."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from seal_ray.config import Config, parse
from seal_ray.reading import as_tree
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.types import Failure, Outcome, SelfEdit, content_key

NOTE = "Korim Dal lives in town Velm and keeps a pet heron ; question : who keeps the heron ? answer : Korim Dal ."


@dataclass
class FakeRun:
    """A run's directory, filled piece by piece. Rewards follow the level asked for; nothing else is pretended."""

    url: str
    seed: int = 1
    rounds: int = 2
    train: int = 8
    test: int = 12
    per_task: int = 5
    seeds: int = 3
    rule: str = "best"
    name: str = "invented"
    clock: float = 1_700_000_000.0

    def __post_init__(self) -> None:
        self.journal, self.rng = Journal(Store(self.url)), random.Random(self.seed)
        tree: dict[str, Any] = {
            "run": {"name": self.name, "seed": self.seed, "rounds": self.rounds},
            "model": {"path": "microworld"},
            "domain": {"name": "microworld", "train": self.train, "test": self.test},
            "sampling": {"per_task": self.per_task},
            "trial": {"seeds": self.seeds},
            "selection": {"rule": self.rule},
        }
        self.config: Config = parse(tree, "the test")

    def write_config(self) -> None:
        tree = {"identity": self.config.identity(), "config": as_tree(self.config)}
        Store(self.url).write("config.json", json.dumps(tree).encode())

    def evaluate(self, arm: str, level: float, policy: int = 0, ended: float = 1.0) -> None:
        """Held-out trials at about this level; a share of them has ended."""
        for i in range(self.test):
            task = f"test-{i:03d}"
            if arm not in ("base", "passage only"):
                self.edit("evaluation", task, 0, policy)
            reward = self._reward(level) if self.rng.random() < ended else None
            self.trial("evaluation", arm, task, 0, 0, policy, reward)

    def explore(self, round_: int, level: float, texts: dict[int, str] | None = None) -> None:
        """Self-edits of a round and their trials; the best of each task is kept."""
        stage = f"round {round_}"
        for i in range(self.train):
            task, earned = f"train-{i:03d}", []
            for index in range(self.per_task):
                self.edit(stage, task, index, round_ - 1, (texts or {}).get(index))
                truth = level + self.rng.gauss(0, 0.15)
                rewards = [self._reward(truth) for _ in range(self.seeds)]
                for replicate, reward in enumerate(rewards):
                    self.trial(stage, "self-edits", task, index, replicate, round_ - 1, reward)
                earned.append(sum(rewards) / len(rewards))
            best = max(range(self.per_task), key=earned.__getitem__)
            where = {"stage": stage, "task_id": task, "index": best, "self_edit": f"{stage}/{task}/{best}"}
            self.journal.append("kept", {"key": content_key(*where.values()), "reward": earned[best], **where})

    def update(self, version: int) -> None:
        row = {"key": str(version), "version": version, "parent": version - 1, "kept": self.train, "steps": 48}
        losses = {"first_loss": 2.1, "last_loss": 0.4, "rank": 16 * version, "compression_error": 0.03, "seconds": 7.5}
        self.journal.append("policies", row | losses)
        self.span("update", "trainer-1", 7.5)
        self.clock += 7.5

    def edit(self, stage: str, task: str, index: int, policy: int, text: str | None = None) -> None:
        words = self.rng.choices(NOTE.split(), k=self.rng.randint(12, 40 + 10 * policy))
        text = " ".join(words) if text is None else text
        edit = SelfEdit(task, index, policy, f"Notes on {task}, {stage}:", text, self.rng.getrandbits(40), len(words))
        self.journal.record(SelfEditRow.of(edit, stage, "sampler-3"))
        self.span("sample", "sampler-3", 0.8)

    def trial(
        self, stage: str, arm: str, task: str, index: int, replicate: int, policy: int, reward: float | None
    ) -> None:
        key = content_key(stage, arm, task, index, replicate, policy)
        row = PlannedRow.at(stage, arm, task, index, replicate, key, policy=policy, recipe="r", seed=replicate)
        self.journal.record(row)
        if reward is None:
            return
        right = round(reward * 12)
        verdicts = tuple(float(i < right) for i in range(12))
        worker = f"trainer-{1 + self.rng.randrange(2)}"
        outcome = Outcome(key, ("Velm",) * 12, (), verdicts, right / 12, None, 3.0, 0.2, 15, 600, 0.9, worker)
        self.journal.record(OutcomeRow.of(outcome))
        self.span("trial", worker, 0.9)
        self.clock += 0.05

    def fail(self, stage: str, task: str, index: int, reason: str) -> None:
        key = content_key("failed", stage, task, index)
        self.journal.record(PlannedRow.at(stage, "self-edits", task, index, 0, key, policy=0, recipe="", seed=0))
        self.journal.record(OutcomeRow.of(Outcome(key, reward=0.0, failure=Failure("data", reason))))

    def span(self, what: str, worker: str, seconds: float) -> None:
        start = self.clock + self.rng.random() * 0.05
        row = {"what": what, "worker": worker, "start": start, "end": start + seconds}
        self.journal.append("spans", {"key": content_key(self.rng.random(), *row.values()), "stage": "", **row})

    def _reward(self, level: float) -> float:
        return min(1.0, max(0.0, self.rng.gauss(level, 0.12)))


def finished(url: str, **more: Any) -> FakeRun:
    """A whole run of two rounds that learns, with all that a finished run has."""
    run = FakeRun(url, **more)
    run.write_config()
    for arm, level in (("base", 0.03), ("passage only", 0.45), ("untrained self-edits", 0.58)):
        run.evaluate(arm, level)
    for number, (before, after) in enumerate([(0.5, 0.79), (0.7, 0.88)], start=1):
        run.explore(number, before)
        run.update(number)
        run.evaluate(f"after round {number}", after, number)
    run.journal.flush()
    return run


def control(url: str, seed: int = 2, name: str = "invented") -> FakeRun:
    """A run that keeps random self-edits and learns little."""
    run = FakeRun(url, rule="random", seed=seed, name=name)
    run.write_config()
    run.evaluate("untrained self-edits", 0.58)
    for number in (1, 2):
        for i in range(run.train):
            run.edit(f"round {number}", f"train-{i:03d}", 0, number - 1)
        run.update(number)
        run.evaluate(f"after round {number}", 0.6, number)
    run.journal.flush()
    return run
