"""What the driver costs and how far it scales: trials of fixed length, a sleep in place of training.

    python -m tests.cluster.scaling [--widths 1 8] [--trials 10000] [--json]

Everything but the training is real: tasks, self-edits and trials go through the runner, the journal, the pool and Ray.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import ray

from seal_ray.config import Config, load
from seal_ray.domains.base import Baseline
from seal_ray.endpoints.patience import Patience
from seal_ray.events import Events
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import BASE, Completion, Example, Grade, Outcome, Prompt, Recipe, SampleRequest, Task, Trial
from seal_ray.workers.cluster import RayCluster
from seal_ray.workers.health import actor
from seal_ray.workers.metrics import RunMetrics
from seal_ray.workers.pool import Pool
from seal_ray.workers.pulse import Beating
from seal_ray.workers.room import Need
from seal_ray.workers.sampler import EngineSpec
from tests.runs import CONFIG

PER_TASK = 4
"""Self-edits, each with one trial where widths are compared; with the task asked alone, five trials."""
_UNDISTURBED, _TRIES = 0.9, 10
_A_ROUND = 500
"""Trials of a round in which the driver's cost is taken."""


class SleepingTrainer(Beating):
    """Takes trials as a trainer does, so many at a time, and sleeps where that one would train."""

    def __init__(self, slots: int, seconds: float) -> None:
        self._slots, self._seconds = asyncio.Semaphore(slots), seconds

    async def setup(self) -> None: ...

    async def run_trial(self, trial: Trial) -> Outcome:
        async with self._slots:
            await asyncio.sleep(self._seconds)
        return Outcome(trial.key, answers=("yes", "no", "yes"), steps=15, tokens=400, seconds=self._seconds)


class QuickSampler(Beating):
    async def setup(self) -> None: ...

    async def sample(self, request: SampleRequest) -> Completion:
        return Completion(f"What follows from {request.seed} in some two hundred letters. " * 4, 60, finished=True)


class SyntheticCluster(RayCluster):
    """Such workers in the pools of the real ones."""

    def __init__(self, config: Config, trainers: int, slots: int, seconds: float) -> None:
        trainer, sampler = (actor(kind, num_cpus=0) for kind in (SleepingTrainer, QuickSampler))
        self.trainers = Pool(
            "trainer",
            lambda: trainer.remote(slots, seconds),
            lambda handle: handle.setup.remote(),
            size=trainers,
            depth=2 * slots,
        )
        self.samplers = Pool("sampler", sampler.remote, lambda handle: handle.setup.remote(), size=1, depth=256)
        self._workers, self._engine, self._on_span = config.workers, EngineSpec.of(config), lambda span: None
        self._needs, self._patience = Need.all_of(config), Patience(config.sampling.patience, "sampling.patience")
        self._spans, self._metrics = [], RunMetrics("synthetic-1")


class Synthetic:
    """A domain of numbered tasks; nothing in it takes time."""

    name, schema, stop, sample_stop = "synthetic", None, (), ()

    def tasks(self, split: str, count: int | None, seed: int) -> Sequence[Task]:
        return [Task(f"{seed}-{i}", "A title", "A text. " * 30, ()) for i in range(count or 1)]

    def prompt(self, task: Task) -> Prompt:
        return f"{task.context} What follows from it?"

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        return Recipe((Example(completion), Example(task.context)))

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        return None

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        return ("Is it?", "Was it?", "Will it be?")

    def statements(self, task: Task) -> tuple[Example, ...]:
        return ()

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        return Grade(tuple(float(answer == "yes") for answer in answers), 2 / 3)


async def explore(
    config: Config, folder: Path, cluster: SyntheticCluster, rounds: int, tasks: int
) -> list[dict[str, float]]:
    """Rounds of trials; after each, the trials so far and what the driver has used."""
    journal, process, used = Journal(Store(str(folder))), psutil.Process(), []
    runner = TrialRunner(Workshop(config, Synthetic(), cluster, journal, Events(journal)))  # type: ignore[arg-type]
    for round_ in range(1, rounds + 1):
        start, cpu = time.perf_counter(), time.process_time()
        await runner.explore(round_, Synthetic().tasks("train", tasks, round_), with_rewards=True)
        journal.flush()
        cluster.rebalance()  # as a run does after every round
        used.append(
            {
                "trials": round_ * tasks * _trials(config),
                "seconds": time.perf_counter() - start,
                "cpu": time.process_time() - cpu,
                "memory": process.memory_info().rss,
            }
        )
    return used


def by_width(widths: Sequence[int], seconds: float, waves: int, slots: int = 2) -> list[dict[str, float]]:
    """Trials a second of so many workers, against what their sleeping alone would allow.

    The best of as many rounds as it takes to find one that was not disturbed, which only takes away; or of ten.
    """
    config = _config(1, PER_TASK)

    async def one(cluster: SyntheticCluster, workers: int, folder: Path) -> dict[str, float]:
        cluster.trainers.resize(workers)
        await explore(config, folder / "warm", cluster, 1, -(-2 * workers * slots // _trials(config)) + 1)
        while cluster.trainers.workers < workers:
            await asyncio.sleep(0.01)
        tasks = workers * slots * waves // _trials(config)  # in whole waves, or the last one's idle slots would count
        rate, most = 0.0, workers * slots / seconds
        for again in range(_TRIES):
            (used,) = await explore(config, folder / f"run-{again}", cluster, 1, tasks)
            rate = max(rate, used["trials"] / used["seconds"])
            if rate > _UNDISTURBED * most:
                break
        return {"workers": workers, "trials_per_second": rate, "efficiency": rate / most}

    async def main() -> list[dict[str, float]]:
        with tempfile.TemporaryDirectory() as folder:
            async with SyntheticCluster(config, widths[0], slots, seconds) as cluster:
                return [await one(cluster, workers, Path(folder) / str(workers)) for workers in widths]

    return asyncio.run(main()) if widths else []


async def bare_cost(cluster: SyntheticCluster, calls: int = 2000, at_once: int = 100) -> float:
    """Processor time of one call of a worker with nothing around it: what Ray itself takes, here and now."""
    task, domain = Synthetic().tasks("train", 1, 0)[0], Synthetic()
    trial = Trial(task.id, BASE, domain.recipe(task, "What follows. " * 16, 0), 0, domain.questions(task))
    async with cluster.trainers.held(1) as (worker,):
        cpu = time.process_time()
        for _ in range(calls // at_once):
            await asyncio.gather(*(worker.handle.run_trial.remote(trial) for _ in range(at_once)))
        return (time.process_time() - cpu) / calls


def driver_cost(trials: int) -> dict[str, float]:
    """What a trial costs the driver in processor time, and what it leaves behind in memory.

    A trial is a call of a trainer and, with two seeds, about half a call of a sampler. `own_share` is what it takes
    beside those calls, in units of them, which says the same on a fast machine and on a slow or busy one.
    """
    config = _config(2, 12)  # and the task asked alone: 25 trials a task
    rounds = trials // _A_ROUND

    async def main() -> tuple[list[dict[str, float]], float]:
        with tempfile.TemporaryDirectory() as folder:
            async with SyntheticCluster(config, 4, 64, 0.05) as cluster:
                tasks = _A_ROUND // _trials(config)
                return await explore(config, Path(folder), cluster, rounds, tasks), await bare_cost(cluster)

    used, bare = asyncio.run(main())
    # The first fifth also fills caches and pools of memory, and loads what merges segments: once, not for every trial.
    # What allocators hold in advance goes up and down by megabytes a round: what is kept shows in the lowest readings.
    last, span = used[-1], 2 * rounds // 5
    early, late = (min(u["memory"] for u in part) for part in (used[-2 * span : -span], used[-span:]))
    per_trial = sum(u["cpu"] for u in used) / last["trials"]
    calls = (1 + config.sampling.per_task / _trials(config)) * bare
    return {
        "trials": last["trials"],
        "driver_ms_per_trial": 1000 * per_trial,
        "ray_ms_per_trial": 1000 * calls,
        "own_share": per_trial / calls - 1,
        "memory_mb": last["memory"] / 2**20,
        "memory_bytes_per_trial": (late - early) / (last["trials"] * span / rounds),
    }


def _config(seeds: int, per_task: int) -> Config:
    return load(CONFIG, ["--trial.seeds", str(seeds), "--sampling.per_task", str(per_task)])


def _trials(config: Config) -> int:
    """Of a task in a round: every seed of every self-edit, and the task asked alone."""
    return config.sampling.per_task * config.trial.seeds + 1


def measure(widths: Sequence[int], trials: int, seconds: float = 1.0, waves: int = 5) -> dict[str, Any]:
    # Workers that sleep have no memory to give back when others on this machine have taken nearly all of it.
    patient = {"memory_monitor_refresh_ms": 0}
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _system_config=patient)
    try:
        return {"scaling": by_width(widths, seconds, waves), "driver": driver_cost(trials)}
    finally:
        ray.shutdown()


def table(found: dict[str, Any]) -> str:
    lines = ["| workers | trials a second | efficiency |", "|---|---|---|"]
    lines += [
        f"| {row['workers']} | {row['trials_per_second']:.1f} | {row['efficiency']:.0%} |" for row in found["scaling"]
    ]
    driver = found["driver"]
    lines.append(
        f"\nOver {driver['trials']:,} trials the driver used {driver['driver_ms_per_trial']:.2f} ms each, of which "
        f"bare calls of workers take {driver['ray_ms_per_trial']:.2f}; it ended at "
        f"{driver['memory_mb']:.0f} MB, {driver['memory_bytes_per_trial']:.0f} bytes more for every trial."
    )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--widths", type=int, nargs="*", default=(1, 2, 4, 8), help="of workers, compared")
    parser.add_argument("--trials", type=int, default=10_000, help="of which the driver's cost is taken")
    options = parser.parse_args(arguments)
    found = measure(options.widths, options.trials)
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    from tests.cluster import scaling  # workers import it by this name

    scaling.main(sys.argv[1:])
