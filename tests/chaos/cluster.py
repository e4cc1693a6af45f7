"""A run on a cluster of a head and two nodes, whose processes are killed, stopped, or starved of memory.

The driver is the task that a submitted job starts. A lost node is replaced at once by a new one, as by
an autoscaler. Workers are forked (`tests.forked`).
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from seal_ray.config import Config
from seal_ray.ops.jobs import drive
from tests.chaos.schedules import Strike
from tests.chaos.survival import Survival, in_time
from tests.chaos.victim import done_twice, noted
from tests.cluster.autoscaling import OBJECT_STORE_BYTES, reached
from tests.forked import forked, forking
from tests.runs import results, rows_on_disk, small_run

TITLES = {"trainer": "Trainer", "sampler": "Sampler", "driver": "noting_driver"}
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
STOPPED_SECONDS = 90.0
_ROOM = 3 << 30
"""Bytes above what the machine uses at the start, at which Ray ends workers in the arena where memory runs out."""


class Arena:
    """A cluster whose processes can be found, killed and stopped."""

    def __init__(self, python: str, parent: int, short: bool) -> None:
        """`python` runs the workers, which are children of `parent`; `short` of memory, the cluster can be made."""
        self.python, self._parent, self._stopped = python, psutil.Process(parent), list[tuple[float, psutil.Process]]()
        self._others = set(self._parent.children())
        memory = psutil.virtual_memory()
        self._limit = min(0.95, (memory.total - memory.available + _ROOM) / memory.total)
        watch = {"memory_usage_threshold": self._limit, "memory_monitor_refresh_ms": 250 if short else 0}
        self._cluster = Cluster()
        head: dict[str, Any] = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        self._cluster.add_node(**head, _system_config=QUICK_TO_NOTICE | watch)
        self.add_node()
        self.add_node()
        ray.init(self._cluster.address, log_to_driver=False)

    def close(self) -> None:
        self.wake(0.0)
        ray.shutdown()
        self._cluster.shutdown()

    def add_node(self) -> None:
        """Ray gives a node half a minute to come up, which on a busy machine is too little."""
        for tries_left in (3, 2, 1, 0):
            try:
                self._cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
                return
            except Exception:
                if not tries_left:
                    raise

    def strike(self, kinds: Sequence[str], chance: random.Random) -> list[str]:
        """Strike one of each kind that is there, all before any is replaced; which kinds were."""
        acts = [(kind, act) for kind in kinds if (act := STRIKES[kind](self, chance))]
        struck = [kind for kind, act in acts if act()]
        if "node" in kinds:
            self.add_node()
        return struck

    def there(self, kinds: Sequence[str]) -> bool:
        return all(self.processes(title) for kind in kinds if (title := kind.split()[-1]) in TITLES)

    def stop(self, process: psutil.Process) -> bool:
        """Whether it was there to be stopped."""
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self._stopped.append((time.monotonic(), process))
            return True
        return False

    def wake(self, after: float = STOPPED_SECONDS) -> None:
        """Let those go on that have been stopped for so long and are still there."""
        for when, process in list(self._stopped):
            if time.monotonic() - when >= after:
                self._stopped.remove((when, process))
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def awake(self) -> bool:
        self.wake()
        return not self._stopped

    def node(self, chance: random.Random) -> Any:
        return chance.choice(sorted(self._cluster.worker_nodes, key=lambda n: n.node_id))

    def remove(self, node: Any) -> bool:
        self._cluster.remove_node(node, allow_graceful=False)
        return True

    def take_memory(self) -> bool:
        """Another program takes more than there is for three seconds. Whether Ray ended a worker for it."""
        workers = [process for kind in TITLES for process in self.processes(kind)]
        memory = psutil.virtual_memory()
        wanted = int(self._limit * memory.total) - (memory.total - memory.available) + (1 << 29)
        wanted = max(wanted, 1 << 29)
        script = f"b=bytearray({wanted})\nfor i in range(0,len(b),4096): b[i]=1\nimport time; time.sleep(3)"
        subprocess.run([sys.executable, "-c", script], check=True)
        return not all(worker.is_running() for worker in workers)

    def processes(self, kind: str) -> list[psutil.Process]:
        return sorted((p for p in self._below() if _kind_of(p) == kind), key=lambda p: p.pid)

    def _below(self) -> Iterator[psutil.Process]:
        yield from set(self._parent.children()) - self._others
        for node in self._cluster.list_all_nodes():
            for process in raylets(node):
                with suppress(psutil.NoSuchProcess):
                    yield from process.children(recursive=True)


def raylets(node: Any) -> list[psutil.Process]:
    found = []
    for info in node.all_processes.get("raylet", ()):
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(info.process.pid))
    return found


def _kind_of(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        title = " ".join(process.cmdline())
        return next((kind for kind, name in TITLES.items() if title.startswith("ray::") and name in title), "")
    return ""


# What can strike -------------------------------------------------------------------------------------

Act = Callable[[], bool]
"""Strikes, and says whether it has."""


def _one(kind: str, do: Callable[[Arena, psutil.Process], bool]) -> Callable[[Arena, random.Random], Act | None]:
    def strike(arena: Arena, chance: random.Random) -> Act | None:
        found = arena.processes(kind)
        victim = chance.choice(found) if found else None
        return None if victim is None else lambda: do(arena, victim)

    return strike


def _kill(arena: Arena, process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # it has died with its node, or with its driver, a moment ago
        process.kill()
    return True


def _kill_node(arena: Arena, chance: random.Random) -> Act:
    node = arena.node(chance)
    return lambda: arena.remove(node)


def _stop_raylet(arena: Arena, chance: random.Random) -> Act:
    """A node that no longer answers, and comes to again; meanwhile there is another."""
    node = arena.node(chance)

    def act() -> bool:
        stopped = [arena.stop(process) for process in raylets(node)]
        arena.add_node()
        return any(stopped)

    return act


STRIKES: dict[str, Callable[[Arena, random.Random], Act | None]] = {
    **{kind: _one(kind, _kill) for kind in TITLES},
    **{f"stopped {kind}": _one(kind, Arena.stop) for kind in TITLES},
    "node": _kill_node,
    "stopped raylet": _stop_raylet,
    "memory": lambda arena, chance: arena.take_memory,
}


# A run -------------------------------------------------------------------------------------------------


def noting(python: str) -> Callable[[Config], None]:
    """The driver of a job, which notes what it has done, and whose workers are forked by `python`."""

    def noting_driver(config: Config) -> None:
        from seal_ray.loop.run import run
        from seal_ray.observe.progress import Silent

        with forked(python), noted(Path(config.dir)):
            run(config, Silent())

    return noting_driver


def met(arena: Arena, folder: Path, seed: int, strikes: Sequence[Strike], expected: dict[str, Any]) -> Survival:
    """Do the run once under these strikes."""
    survival, chance, start = Survival(), random.Random(seed), time.monotonic()
    most = len(expected["self_edits"]) + len(expected["rewards"]) if expected else 0
    done = drive(small_run(folder, *TINY), noting(arena.python))

    def rows() -> int:
        return rows_on_disk(folder)

    def ended() -> bool:
        arena.wake()
        return bool(ray.wait([done], timeout=0)[0])

    for strike in strikes:
        needed = int(strike.moment * most)
        in_time(lambda n=needed, s=strike: (rows() >= n and arena.there(s.kinds)) or ended(), rows)  # type: ignore[misc]
        if ended():
            break
        before, when = rows(), time.monotonic()
        survival.met += arena.strike(strike.kinds, chance)
        in_time(lambda n=before: rows() > n or ended(), rows)  # type: ignore[misc]
        survival.recoveries.append(time.monotonic() - when)
    survival.hold([kind for strike in strikes for kind in strike.kinds])
    in_time(ended, rows)
    reached(arena.awake, STOPPED_SECONDS + 10)
    try:
        ray.get(done, timeout=1)
    except Exception as error:
        survival.wrong.append(f"the run did not end well: {str(error).strip().splitlines()[-1][:300]}")
    else:
        if expected and results(folder) != expected:
            survival.wrong.append("it did not come to the quiet run's journal")
    survival.again, survival.oldest = done_twice(folder)
    survival.hold_to_a_second()
    survival.seconds = time.monotonic() - start
    return survival


@contextmanager
def arena(short: bool, forked_by: tuple[str, int] | None = None) -> Iterator[Arena]:
    """A cluster whose workers are forked from a process of its own, unless there is one already."""
    with nullcontext(forked_by) if forked_by else forking() as (python, parent):
        found = Arena(python, parent, short)
        try:
            yield found
        finally:
            found.close()
