"""What trackers cost a driver: processor time over many synthetic trials, all trackers at once.

    python -m tests.observe.cost        # in the environment of `make test-trackers`

They are told as often as in a run that does fifteen trials a second, without its pauses. What they do in processes of
their own (W&B's writer, MLflow's server) is not the driver's.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from seal_ray.events import Ended, Events
from seal_ray.observe import outlet
from seal_ray.observe.observers import named
from seal_ray.observe.trackers import Trackers
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, Row, SelfEditRow, SpanRow
from seal_ray.record.storage import Store
from tests.observe.readers import INSTALLED, environment, mlflow_server
from tests.runs import small_run

TRIALS = 10_000
_AT_ONCE = round(15 * outlet.PAUSE)
"""Trials that end between what a tracker is told and what it is told next."""


def rows(trials: int) -> Iterator[Row]:
    for number in range(trials):
        trial, task = f"trial {number}", f"task {number % 100}"
        yield SelfEditRow(f"edit {number}", stage="round 1", task_id=task, tokens=100)
        yield PlannedRow.at("round 1", "self-edits", task, 0, number, trial)
        yield SpanRow.of("trial", "trainer", number / 10, number / 10 + 1)
        yield OutcomeRow(trial, tokens=1000, reward=(number % 7) / 7)


class Cost:
    """Processor time that this process spends on trackers: all threads but this one, and what it does for them."""

    def __init__(self) -> None:
        self._mine, self._telling = threading.get_native_id(), 0.0
        tell = Trackers._tell

        def timed(trackers: Trackers, *rest: object) -> None:
            start = time.thread_time()
            tell(trackers, *rest)  # type: ignore[arg-type]
            self._telling += time.thread_time() - start

        Trackers._tell = timed  # type: ignore[assignment, method-assign]

    @property
    def seconds(self) -> float:
        threads = (each for each in psutil.Process().threads() if each.id != self._mine)
        return self._telling + sum(each.user_time + each.system_time for each in threads)


def main() -> None:
    with tempfile.TemporaryDirectory() as place, mlflow_server(Path(place)) as server:
        os.environ.update(environment(Path(place), server))
        config = small_run(Path(place, "run"), "--run.observers", json.dumps(INSTALLED))
        store = Store(config.dir)
        journal = Journal(store)
        journal.begin()
        cost, outlet.PAUSE = Cost(), 0.0
        trackers = named(config, store, journal)
        events = Events(journal, trackers)
        opening = 0.0
        for number, row in enumerate(rows(TRIALS)):
            events.emit(row)
            if number % (4 * _AT_ONCE) == 0:
                journal.flush()
                while any(each._waiting for watching in trackers for each in watching._outlets):  # type: ignore[attr-defined]
                    time.sleep(0.005)
                opening = opening or cost.seconds
        journal.flush()
        spent = cost.seconds - opening
        events.emit(Ended())
        events.close()
    print(f"{', '.join(INSTALLED)}: {opening:.1f} s of processor time to open them, in threads of their own")
    print(f"{TRIALS} trials: {spent:.2f} s, {spent / TRIALS * 1e3:.3f} ms a trial")


if __name__ == "__main__":
    main()
