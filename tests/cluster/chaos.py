"""Kill -9 the parts of a run at seeded moments of its progress, and hold what it comes to against a quiet run.

    python -m tests.cluster.chaos --schedules 12 [--json] [--section.key value ...]

The run is a small one of the micro-world on a cluster of a head and two nodes; its driver is the task that a submitted
job starts. A lost node is replaced at once by a new one, as an autoscaler would. Workers are forked (`tests.forked`).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from seal_ray.config import Config
from seal_ray.jobs import drive
from seal_ray.types import SampleRequest, Trial
from seal_ray.workers import crew
from seal_ray.workers.sampler import Sampler
from seal_ray.workers.trainer import Trainer
from tests.cluster.autoscaling import OBJECT_STORE_BYTES, reached
from tests.forked import forked, forking
from tests.runs import results, rows_on_disk, small_run

TITLES = {"trainer": "Trainer", "sampler": "Sampler", "driver": "noting_driver"}
KINDS = (*TITLES, "node")
TINY = [
    *("--domain.train", "3", "--domain.test", "3", "--sampling.per_task", "2", "--run.rounds", "1"),
    *("--workers.slots", "2", "--workers.trainers", "2", "--workers.samplers", "1", "--workers.cpus", "0.5"),
]
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "enable_worker_prestart": False,
}
PATIENCE = 240.0


@dataclass(frozen=True)
class Fault:
    """What is killed, all at once, when this many rows of the journal are on disk."""

    moment: int
    kinds: tuple[str, ...]


@dataclass
class Survival:
    """How one schedule went."""

    seed: int
    struck: list[list[str]] = field(default_factory=list)
    """Which kinds were killed, moment by moment."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each moment's kills to the next rows on disk."""
    repeated_trials: int = 0
    repeated_samples: int = 0
    seconds: float = 0.0
    same_result: bool = False


def plan(seed: int, rows: int) -> list[Fault]:
    """One moment or two, at each of them one to three kinds of victim."""
    chance = random.Random(f"schedule {seed}")
    moments = sorted(chance.sample(range(rows * 3 // 4), 1 + seed % 2))
    return [Fault(moment, tuple(chance.sample(KINDS, chance.choice((1, 2, 2, 3))))) for moment in moments]


class Arena:
    """A cluster whose processes can be found and killed."""

    def __init__(self, python: str, parent: int) -> None:
        """`python` runs the workers, which are children of `parent`."""
        self.python, self._parent = python, parent
        self._cluster = Cluster()
        head: dict[str, Any] = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        self._cluster.add_node(**head, _system_config=QUICK_TO_NOTICE)
        self._add_node()
        self._add_node()
        ray.init(self._cluster.address, log_to_driver=False)

    def close(self) -> None:
        ray.shutdown()
        self._cluster.shutdown()

    def _add_node(self) -> None:
        self._cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)

    def strike(self, kinds: Sequence[str], chance: random.Random) -> list[str]:
        """Kill one of each kind that is there, all before any is replaced; which kinds were."""
        struck = []
        node = chance.choice(sorted(self._cluster.worker_nodes, key=lambda n: n.node_id)) if "node" in kinds else None
        victims = [(kind, chance.choice(found)) for kind in kinds if (found := self._processes(kind))]
        for kind, process in victims:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                struck.append(kind)
        if node:
            self._cluster.remove_node(node, allow_graceful=False)
            struck.append("node")
            self._add_node()
        return struck

    def up(self, kinds: Sequence[str]) -> bool:
        return all(self._processes(kind) for kind in kinds if kind != "node")

    def _processes(self, kind: str) -> list[psutil.Process]:
        return sorted((p for p in self._below() if _kind_of(p) == kind), key=lambda p: p.pid)

    def _below(self) -> Iterator[psutil.Process]:
        yield from psutil.Process(self._parent).children()
        for node in self._cluster.list_all_nodes():
            for info in node.all_processes.get("raylet", ()):
                with suppress(psutil.NoSuchProcess):
                    yield from psutil.Process(info.process.pid).children(recursive=True)


def _kind_of(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        title = " ".join(process.cmdline())
        return next((kind for kind, name in TITLES.items() if title.startswith("ray::") and name in title), "")
    return ""


def noting(python: str) -> Callable[[Config], None]:
    """The driver of a job, whose workers note what they begin, so that what was done twice can be counted."""

    def noting_driver(config: Config) -> None:
        from seal_ray.run import run
        from seal_ray.ui import Silent

        noted = _noted(Path(config.dir))

        class NotingTrainer(Trainer):
            async def attempt(self, trial: Trial) -> Any:
                _note(noted, f"trial {trial.key}")
                return await super().attempt(trial)

        class NotingSampler(Sampler):
            async def sample(self, request: SampleRequest) -> Any:
                _note(noted, f"sample {request.seed}")
                return await super().sample(request)

        crew.Trainer, crew.Sampler = NotingTrainer, NotingSampler  # type: ignore[misc]
        with forked(python):
            run(config, Silent())

    return noting_driver


def _noted(folder: Path) -> Path:
    return folder.with_suffix(".begun")


def _note(path: Path, line: str) -> None:
    with path.open("a") as notes:
        notes.write(line + "\n")


def disturbed(arena: Arena, seed: int, faults: Sequence[Fault], folder: Path, overrides: Sequence[str]) -> Survival:
    """Do the run once under these faults."""
    survival, chance, start = Survival(seed), random.Random(seed), time.monotonic()
    done = drive(small_run(folder, *TINY, *overrides), noting(arena.python))

    def ended() -> bool:
        return bool(ray.wait([done], timeout=0)[0])

    for fault in faults:
        reached(lambda f=fault: (rows_on_disk(folder) >= f.moment and arena.up(f.kinds)) or ended(), PATIENCE)  # type: ignore[misc]
        if ended():
            break
        before, when = rows_on_disk(folder), time.monotonic()
        survival.struck.append(arena.strike(fault.kinds, chance))
        reached(lambda rows=before: rows_on_disk(folder) > rows or ended(), PATIENCE)  # type: ignore[misc]
        survival.recoveries.append(time.monotonic() - when)
    ray.get(done, timeout=PATIENCE)
    counts = Counter(_noted(folder).read_text().splitlines())
    survival.repeated_trials = sum(n - 1 for line, n in counts.items() if line.startswith("trial"))
    survival.repeated_samples = sum(n - 1 for line, n in counts.items() if line.startswith("sample"))
    survival.seconds = time.monotonic() - start
    return survival


def survive(schedules: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """All schedules, one after the other on one cluster, and what they add up to."""
    with _arena() as arena, tempfile.TemporaryDirectory() as scratch:
        quiet_folder = Path(scratch) / "quiet"
        quiet = disturbed(arena, 0, (), quiet_folder, overrides)
        expected, rows = results(quiet_folder), rows_on_disk(quiet_folder)
        print(f"quiet: {rows} rows, {quiet.seconds:.0f} s", file=sys.stderr)
        survivals = []
        for seed in range(1, schedules + 1):
            folder = Path(scratch) / f"schedule-{seed}"
            survival = disturbed(arena, seed, plan(seed, rows), folder, overrides)
            survival.same_result = results(folder) == expected
            survivals.append(survival)
            print(f"schedule {seed}: {survival}", file=sys.stderr)
    return summary(quiet, rows, survivals)


@contextmanager
def _arena() -> Iterator[Arena]:
    with forking() as (python, parent):
        arena = Arena(python, parent)
        try:
            yield arena
        finally:
            arena.close()


def summary(quiet: Survival, rows: int, survivals: Sequence[Survival]) -> dict[str, Any]:
    recoveries = [seconds for survival in survivals for seconds in survival.recoveries]
    struck = [kind for survival in survivals for kinds in survival.struck for kind in kinds]
    return {
        "schedules": len(survivals),
        "same_result": sum(survival.same_result for survival in survivals),
        "faults": {kind: struck.count(kind) for kind in KINDS},
        "at_once": sum(len(kinds) > 1 for survival in survivals for kinds in survival.struck),
        "rows_per_run": rows,
        "repeated_trials": sum(survival.repeated_trials for survival in survivals),
        "repeated_samples": sum(survival.repeated_samples for survival in survivals),
        "seconds_to_recover": {
            "median": round(statistics.median(recoveries), 1) if recoveries else 0.0,
            "longest": round(max(recoveries, default=0.0), 1),
        },
        "seconds_quiet": round(quiet.seconds, 1),
        "seconds_total": round(sum(survival.seconds for survival in survivals), 1),
        "each": [asdict(survival) for survival in survivals],
    }


def table(found: dict[str, Any]) -> str:
    faults = ", ".join(f"{count} {kind}s" for kind, count in found["faults"].items())
    recover = found["seconds_to_recover"]
    return "\n".join(
        [
            f"| schedules with the quiet run's keys and rewards | {found['same_result']} of {found['schedules']} |",
            "|---|---|",
            f"| killed and survived | {faults}; {found['at_once']} times several at once |",
            f"| done again | {found['repeated_trials']} trials, {found['repeated_samples']} self-edits |",
            f"| seconds until the next row is on disk | median {recover['median']}, longest {recover['longest']} |",
        ]
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--schedules", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    options, overrides = parser.parse_known_args(arguments)
    found = survive(options.schedules, overrides)
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    from tests.cluster import chaos  # workers import it by this name

    chaos.main(sys.argv[1:])
