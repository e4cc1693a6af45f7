"""What trackers hold of a run, read back as others would read it: every point, twice where it is there twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from seal_ray.observe.figures import Figure
from seal_ray.observe.observers import TRACKERS, installed
from seal_ray.observe.trackers import ID

INSTALLED = [name for name in TRACKERS if installed(name)]


def only_with(name: str) -> None:
    """Skip, and say so, where a tracker's package is missing; `make test-trackers` has all of them."""
    if name not in INSTALLED:
        pytest.skip(f"{name} is not installed: `make test-trackers` brings it")


def environment(folder: Path, mlflow: str = "") -> dict[str, str]:
    """Environment variables under which trackers write below a folder, or to an MLflow server, and nowhere else."""
    mine = {
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(folder / "trackio"),
        "MLFLOW_TRACKING_URI": mlflow or f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # another process's
    return {**inherited, **mine, "OMP_NUM_THREADS": "1"}


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The address of an MLflow server of this test's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    listens = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "mlflow.log").open("wb") as log:
        command = [sys.executable, "-m", "mlflow", "server", *places, *listens]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment(folder), start_new_session=True)
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (folder / "mlflow.log").read_text()
            with suppress(subprocess.TimeoutExpired):
                server.wait(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def tensorboard(run: Path, env: dict[str, str]) -> Iterator[Figure]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"), {"scalars": 0})
    board.Reload()
    for name in board.Tags()["scalars"]:
        yield from (Figure(name, each.step, each.value) for each in board.Scalars(name))


def wandb(run: Path, env: dict[str, str]) -> Iterator[Figure]:
    from wandb.proto.wandb_internal_pb2 import Record

    from seal_ray.observe.sinks.wandb_log import records

    number = -1
    for file in sorted((run / "wandb").glob(f"offline-run-*/run-{identity(run)}.wandb")):
        for record in map(Record.FromString, records(file)):
            if record.WhichOneof("record_type") == "history":
                row = {"".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                assert row["_step"] > number, "W&B would leave this row out"
                number, step = row["_step"], row["step"]
                yield from (Figure(name, step, row[name]) for name in row if name[0] != "_" and name != "step")


def mlflow(run: Path, env: dict[str, str]) -> Iterator[Figure]:
    from mlflow import MlflowClient

    client = MlflowClient(env["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("seal-ray")
    assert experiment
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`seal_ray.run` = '{identity(run)}'")
    for name in found.data.metrics:
        for each in client.get_metric_history(found.info.run_id, name):
            yield Figure(name, each.step, each.value)


READ = """
import json, sys
from trackio.sqlite_storage import SQLiteStorage
runs = SQLiteStorage.get_run_records("seal-ray")
assert [run["id"] for run in runs] == [sys.argv[1]], runs
rows = SQLiteStorage.get_logs("seal-ray", run_id=sys.argv[1])
print(json.dumps([{name: value for name, value in row.items() if name != "timestamp"} for row in rows]))
"""


def trackio(run: Path, env: dict[str, str]) -> Iterator[Figure]:
    """In a process of its own: trackio reads where its database is when it is imported."""
    rows = json.loads(subprocess.check_output([sys.executable, "-c", READ, identity(run)], env=env))
    for row in rows:
        step = row.pop("step")
        yield from (Figure(name, step, value) for name, value in row.items())


def identity(run: Path) -> str:
    return (run / ID).read_text()


def jsonl(run: Path, env: dict[str, str]) -> Iterator[Figure]:
    for line in (run / "metrics.jsonl").read_text().splitlines():
        said = json.loads(line)
        yield Figure(said["name"], said["step"], said["value"])


READERS: dict[str, Callable[[Path, dict[str, str]], Iterator[Figure]]] = {
    "jsonl": jsonl,
    "mlflow": mlflow,
    "tensorboard": tensorboard,
    "trackio": trackio,
    "wandb": wandb,
}
