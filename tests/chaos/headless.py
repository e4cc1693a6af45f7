"""A run on a cluster whose head is lost: Ray's GCS is killed, and the same command goes on when there is a head again.

python -m tests.chaos.headless PYTHON DIR ARGUMENTS   is that command, which notes what it has done
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from seal_ray.stopping import PROMISE
from tests.chaos.survival import Survival, in_time
from tests.chaos.victim import done_twice, noted
from tests.cluster.autoscaling import OBJECT_STORE_BYTES, end, free_port
from tests.forked import forking, run_command
from tests.runs import CONFIG, SMALL, results, rows_on_disk

ENDED_WITHIN = 120.0
"""Seconds: Ray itself would end the driver after 60 without its head, without a word."""


def met(folder: Path, moment: float, settings: list[str], expected: dict[str, Any]) -> Survival:
    """Kill the GCS when this share of the rows is on disk, and give the same command again."""
    survival, start = Survival(), time.monotonic()
    wanted = int(moment * (len(expected["self_edits"]) + len(expected["rewards"])))
    port = free_port()
    arguments = ["run", str(CONFIG), *SMALL, *settings, "--run.dir", str(folder), "--quiet"]
    arguments += ["--workers.address", f"127.0.0.1:{port}"]
    with forking() as (python, _):
        with _head(port) as gcs, _command(python, folder, arguments) as driver:
            in_time(lambda: rows_on_disk(folder) >= wanted or driver.poll() is not None, lambda: rows_on_disk(folder))
            if driver.poll() is None:
                gcs.kill()
                survival.met.append("head killed")
            survival.wrong += _one_promise(driver, folder)
        with _head(port), _command(python, folder, arguments) as driver:
            in_time(lambda: driver.poll() is not None, lambda: rows_on_disk(folder))
            if driver.poll() != 0:
                survival.wrong.append(f"the same command ended with {driver.poll()}: {_said(folder)[-300:]}")
            elif results(folder) != expected:
                survival.wrong.append("it did not come to the quiet run's journal")
    survival.hold(["head killed"])
    survival.again, survival.oldest = done_twice(folder)
    survival.hold_to_a_second()
    survival.seconds = time.monotonic() - start
    return survival


def _one_promise(driver: subprocess.Popen[bytes], folder: Path) -> list[str]:
    try:
        code = driver.wait(ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        return [f"it had not ended {ENDED_WITHIN:.0f} s after its head was gone"]
    said = _said(folder)
    lines = [line for line in said.splitlines() if line.startswith("seal-ray: ")]
    fine = code == 1 and len(lines) == 1 and PROMISE in lines[0] and "Traceback" not in said and "@ 0x" not in said
    return [] if fine else [f"no single line with the promise and code 1, but {code}: {said[-500:]}"]


def _said(folder: Path) -> str:
    return folder.with_suffix(".log").read_text().strip()


@contextmanager
def _command(python: str, folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with folder.with_suffix(".log").open("wb") as log:
        command = [sys.executable, "-m", "tests.chaos.headless", python, str(folder), *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        end(process)


@contextmanager
def _head(port: int) -> Iterator[psutil.Process]:
    """A cluster at this port, of a head that works too; its GCS."""
    cluster = Cluster()
    try:
        head = cluster.add_node(
            num_cpus=2, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, gcs_server_port=port
        )
        yield psutil.Process(head.all_processes["gcs_server"][0].process.pid)
    finally:
        cluster.remove_node(cluster.head_node, allow_graceful=False)  # without its GCS it hears of nothing


if __name__ == "__main__":
    python, folder, *arguments = sys.argv[1:]
    with noted(Path(folder)):
        run_command(python, arguments)
