"""Small runs of the micro-world, and what is compared of them."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from seal_ray.config import Config, load
from seal_ray.events import Event
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PolicyRow, Row
from seal_ray.record.storage import Store
from tests.forked import command
from tests.warm import Command

R = TypeVar("R", bound=Row)
CONFIG = Path(__file__).parents[1] / "jobs/microworld.toml"
SMALL = [
    *("--domain.train", "4", "--domain.test", "4", "--sampling.per_task", "3", "--sampling.max_tokens", "120"),
    *("--evaluation.samples", "1", "--trial.optim.epochs", "10", "--workers.slots", "8", "--update.kl_coef", "1"),
]


def small_run(folder: Path, *more: str) -> Config:
    """A whole run, two rounds, in seconds."""
    return load(CONFIG, [*SMALL, "--run.dir", str(folder), *more])


class Copies(Silent):
    """Keeps a copy of the run as it is on disk, and nothing waits to get there, once a round has made its policy."""

    def __init__(self, folder: Path, round_: int) -> None:
        self._folder, self._round = folder, round_

    def on(self, event: Event) -> None:
        if isinstance(event, PolicyRow) and event.version == self._round:
            shutil.copytree(self._folder, self._folder.with_name(f"after round {self._round}"))


def rows(folder: Path, kind: type[R]) -> list[R]:
    """What is on record of one kind."""
    return list(Journal(Store(str(folder))).read(kind))


def results(folder: Path | str) -> dict[str, Any]:
    """Everything a run decided: its self-edits, the reward of every trial, what was kept, planned and learnt."""
    journal = Journal(Store(str(folder)))
    return {
        "self_edits": {row["key"]: row["completion"] for row in journal.rows("self_edits")},
        "rewards": {row["key"]: (row["reward"], tuple(row["answers"])) for row in journal.rows("outcomes")},
        "planned": {row["key"]: row["trial"] for row in journal.rows("planned")},
        "kept": {row["key"]: row["self_edit"] for row in journal.rows("kept")},
        "policies": {row["version"]: row["kept"] for row in journal.rows("policies")},
        "learnt": {row["key"]: (row["way"], row["step"], row["rank"]) for row in journal.rows("continual")},
    }


def start(folder: Path, *more: str, python: str) -> subprocess.Popen[bytes]:
    """The same small run as a command of its own, which can be killed. `python` forks its workers (`tests.forked`)."""
    arguments = ["run", str(CONFIG), *SMALL, "--run.dir", str(folder), *more]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command(python, arguments), stdout=log, stderr=log)


def kill_when(process: subprocess.Popen[bytes] | Command, moment: Callable[[], bool]) -> bool:
    """Kill -9 at this moment; False when the run ended before it."""
    while process.poll() is None:
        if moment():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    return False


def rows_on_disk(folder: Path) -> int:
    """Self-edits and outcomes that would survive a kill."""
    journal = Journal(Store(str(folder)))
    return sum(len(journal.table(name)) for name in ("self_edits", "outcomes"))
