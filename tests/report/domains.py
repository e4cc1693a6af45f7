"""Runs that never happened of every domain that ships: its own tasks, with self-edits, answers and verdicts made up."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seal_ray.config import load
from seal_ray.domains.base import DiscreteActions, Domain
from seal_ray.domains.drawing import training_tasks
from seal_ray.domains.registry import load_domain, spelled_out
from seal_ray.model import fingerprint
from seal_ray.reading import as_tree
from seal_ray.record.continual import CONTINUAL, arm_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, LearntRow, OutcomeRow, PlannedRow, PolicyRow, SelfEditRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED
from seal_ray.sources import source_paths
from seal_ray.types import Failure, Outcome, SelfEdit, Task
from tests.runs import CONFIG

JOBS = CONFIG.parent
HOSTILE = "<script>window.pwned = 1</script>\u202e"
WAYS = ("merge", "replay")


def of_domain(name: str, folder: Path) -> str:
    """A finished run of two rounds and, in the micro-world, of passages in turn; where it lives."""
    job, more = {
        "microworld": ("microworld", ["--domain.train", "6", "--domain.test", "8"]),
        "knowledge": ("knowledge_small", []),
        "arcworld": ("arc_small", ["--domain.train", "6", "--domain.test", "8"]),
        "arc": ("arc", _arc_files(folder)),
    }[name]
    run = _Invented(load(JOBS / f"{job}.toml", ["--run.rounds", "2", "--run.dir", str(folder / "run"), *more]))
    run.evaluate(UNTRAINED, 0, 0.3)
    for number in (1, 2):
        run.explore(number)
        run.evaluate(f"after round {number}", number, 0.5 + 0.2 * number)
    if name == "microworld":
        run.learn_in_turn(4)
    run.journal.flush()
    return str(folder / "run")


def in_turn_only(folder: Path) -> str:
    """A run that only learns passages in turn, and measures nothing else."""
    more = ["--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", "[]"]
    run = _Invented(load(JOBS / "microworld.toml", ["--run.dir", str(folder), *more]))
    run.learn_in_turn(4)
    run.journal.flush()
    return str(folder)


def _arc_files(folder: Path) -> list[str]:
    found: list[str] = []
    for first, split in ((0, "train"), (1, "test")):
        cells = [(x, y) for y in range(12) for x in range(12)]
        tasks, right = {}, {}
        for i in range(7):
            numbers = [(i * (x + 1) + x * y + 3 * first * x * x) % 10 for x, y in cells]
            grid, name = [numbers[12 * y :][:12] for y in range(12)], f"{split}{i}"
            pair = {"input": grid, "output": grid[::-1]}
            tasks[name], right[name] = {"train": [pair, pair], "test": [{"input": grid}]}, [grid[::-1]]
        for option, content in ((split, tasks), (f"{split}_solutions", right)):
            path = folder / f"{option}.json"
            path.write_text(json.dumps(content))
            found += [f"--domain.options.{option}", str(path)]
    return found


class _Invented:
    def __init__(self, config: Any) -> None:
        self.config, self.domain = spelled_out(config), load_domain(config)
        self.store, self.rng, self.clock = Store(config.dir), random.Random(1), 1_700_000_000.0
        self.journal = Journal(self.store)
        sources = source_paths(self.domain)
        contents = {f"domain.options.{name}": fingerprint.of_path(Path(path)) for name, path in sources.items()}
        tree = {"identity": {"contents": contents}, "config": as_tree(self.config)}
        self.store.write("config.json", json.dumps(tree).encode())

    def explore(self, number: int) -> None:
        """A round whose first self-edit of each task cannot be used, and whose last one is kept."""
        stage, policy = f"round {number}", number - 1
        for task in training_tasks(self.config, self.domain, number):
            for index in range(3):
                self.write(stage, task, index, policy)
                failed = Failure("data", "it cannot be read") if index == 0 else None
                self.trial(stage, "self-edits", task, index, policy, 0.3 * index, failed)
            self.journal.record(KeptRow(f"{stage}{task.id}", stage, task.id, "", 2, 0.6))
        losses = tuple(2.0 / (step + 1) for step in range(20))
        self.journal.record(PolicyRow(f"{number}", number, policy, 6, 20, 16, 2.0, 0.1, 0.02, 7.0, losses=losses))
        self.span("update", 7.0)

    def evaluate(self, arm: str, policy: int, level: float) -> None:
        for task in self.domain.tasks("test", self.config.domain.test or None, self.config.run.seed):
            self.write("evaluation", task, 0, policy)
            self.trial("evaluation", arm, task, 0, policy, level)

    def learn_in_turn(self, passages: int) -> None:
        tasks: Sequence[Task] = self.domain.tasks("test", passages, self.config.run.seed)
        for way in WAYS:
            head = f"sequence 0 by {way}"
            for step in range(passages + 1):
                for place, task in enumerate(tasks):
                    level = 0.1 if place >= step else 0.9 - 0.2 * (step - place - 1)
                    self.trial(CONTINUAL, arm_of(head, step), task, place, step, level)
                if step:
                    self.journal.record(
                        LearntRow(f"{head}{step}", tasks[step - 1].id, step, 0, step, 16, "a", way, tokens=100)
                    )

    def write(self, stage: str, task: Task, index: int, policy: int) -> None:
        text = _decision(self.domain, index) or f"note {index} on {task.title}: {HOSTILE} " + "fact " * (index + policy)
        edit = SelfEdit(task.id, index, policy, self.domain.prompt(task), text, index, 20 + 9 * index + 5 * policy)
        self.journal.record(SelfEditRow.of(edit, stage, "sampler-1"))
        self.span("sample", 0.5, "sampler-1")

    def trial(
        self,
        stage: str,
        arm: str,
        task: Task,
        index: int,
        policy: int,
        level: float,
        failed: Failure | None = None,
    ) -> None:
        key = f"{stage}/{arm}/{task.id}/{index}/{policy}"
        row = PlannedRow.at(stage, arm, task.id, index, 0, key, policy=policy, recipe="r", seed=0)
        self.journal.record(row)
        asked, gold = len(self.domain.questions(task)), [question.answer for question in task.questions]
        verdicts = tuple(min(1.0, max(0.0, self.rng.gauss(level, 0.2))) for _ in range(asked))
        answers = tuple(gold[i % len(gold)] if v > 0.5 else HOSTILE for i, v in enumerate(verdicts))
        reward = sum(verdicts) / max(1, len(verdicts))
        outcome = Outcome(key, answers, (), verdicts, reward, None, 3.0, 0.2, 15, 600, 0.9, "trainer-1")
        self.journal.record(OutcomeRow.of(Outcome(key, reward=0.0, failure=failed) if failed else outcome))
        self.span("trial", 0.9)

    def span(self, what: str, seconds: float, worker: str = "trainer-1") -> None:
        self.journal.record(SpanRow.of(what, worker, self.clock, self.clock + seconds))
        self.clock += 0.6 * seconds


def _decision(domain: Domain, index: int) -> str:
    """One of the decisions of a domain whose self-edits are decisions."""
    if not isinstance(domain, DiscreteActions):
        return ""
    return next(text for i, text in enumerate(domain.candidates()) if i == index)
