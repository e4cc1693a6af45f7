"""What trackers cost a driver: processor time of its process over many synthetic trials, with and without all of them.

    python -m tests.observe.cost        # in the environment of `make test-trackers`

They are told as often as in a run that does fifteen trials a second, without its pauses. What they do in processes of
their own (W&B's writer, MLflow's server) is not the driver's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from seal_ray.events import Ended, Events
from seal_ray.observe import outlet
from seal_ray.observe.observers import named
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


def one(folder: Path, names: list[str], trials: int) -> float:
    """Seconds of processor time of this process, with these trackers and so many trials."""
    config = small_run(folder / "run", "--run.observers", json.dumps(names))
    store = Store(config.dir)
    journal = Journal(store)
    journal.begin()
    observers = named(config, store, journal)
    events = Events(journal, observers)
    start, outlet.PAUSE = time.process_time(), 0.0
    for number, row in enumerate(rows(trials), 1):
        events.emit(row)
        if number % (4 * _AT_ONCE) == 0:
            journal.flush()
            while any(each._waiting for watching in observers for each in watching._outlets):  # type: ignore[attr-defined]
                time.sleep(0.005)
    events.emit(Ended())
    events.close()
    return time.process_time() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as place, mlflow_server(Path(place)) as server:

        def seconds(number: int, names: list[str], trials: int) -> float:
            folder = Path(place, str(number))
            folder.mkdir()
            command = [sys.executable, "-m", "tests.observe.cost", str(folder), json.dumps(names), str(trials)]
            return float(subprocess.check_output(command, env=environment(folder, server)))

        opening = seconds(0, INSTALLED, 0) - seconds(1, [], 0)
        without, watched = seconds(2, [], TRIALS), seconds(3, INSTALLED, TRIALS)
    cost = watched - without - opening
    print(f"{', '.join(INSTALLED)}: {opening:.1f} s of processor time to open them, in threads of their own")
    print(f"{TRIALS} trials: {cost:.2f} s, {cost / TRIALS * 1e3:.3f} ms a trial; the record alone {without:.2f} s")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(one(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
