"""A small autoscaling cluster on one machine: nodes are processes, the autoscaler is the real one (v2).

Ray's own `AutoscalingCluster` cannot be used as it is: it reads an example file the wheel leaves out, and starts and
ends with `ray stop --force`, which ends every Ray process on the machine. This one brings its config, keeps to its own
port and folder, and ends only what it started.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)
from ray.cluster_utils import AutoscalingCluster

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
OBJECT_STORE_BYTES = 80 * 2**20
"""Per node; Ray refuses less than 75 MiB."""
_TRIES = 5


@contextmanager
def autoscaling_cluster(
    max_workers: int = 3,
    cpus_per_worker: int = 1,
    idle_seconds: float = 3,
    provider: str = f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
    node_config: dict[str, Any] | None = None,
) -> Iterator[str]:
    """The address of a cluster whose head takes no work and which has no other node until one is asked for.

    Connect with `ray.init(address)` and disconnect before leaving. `provider` makes the nodes, from `node_config`.
    """
    resources = {"CPU": cpus_per_worker, "object_store_memory": OBJECT_STORE_BYTES}
    worker = {"resources": resources, "node_config": node_config or {}, "min_workers": 0, "max_workers": max_workers}
    cluster = PrivateAutoscalingCluster({"CPU": 0}, {"worker": worker}, idle_timeout_minutes=idle_seconds / 60)
    cluster.provider["module"] = provider
    try:
        cluster.start(override_env={"PYTHONPATH": f"{ROOT}:{CLUSTER}"})
        yield cluster.address
    finally:
        cluster.shutdown()


def worker_nodes() -> set[str]:
    """Ids of the nodes that are alive now, the head aside; for a connected driver."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]} - {FAKE_HEAD_NODE_ID}


def reached(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within the time, asked every tenth of a second."""
    deadline = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def head_of(command: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The head that a blocking `ray start` has brought up.

    It is started again when it gives up: Ray allows its own processes half a minute, and a busy machine may not.
    """
    for _ in range(_TRIES):
        with log.open("wb") as output:
            head = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        if _is_up(head, log):
            return head
        end(head)
        if "timed out during startup" not in log.read_text():
            break
    raise RuntimeError(f"the head did not start: {log.read_text()[-2000:]}")


def _is_up(head: subprocess.Popen[bytes], log: Path) -> bool:
    settled = reached(lambda: "Ray runtime started" in log.read_text() or head.poll() is not None, 600)
    return settled and head.poll() is None


def end(started: subprocess.Popen[bytes]) -> None:
    """Kill a process and every one below it."""
    if started.poll() is not None:
        return
    head = psutil.Process(started.pid)
    family = [head, *head.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=60)


class PrivateAutoscalingCluster(AutoscalingCluster):
    """An `AutoscalingCluster` that shares its machine with others."""

    def __init__(self, head_resources: dict[str, int], worker_node_types: dict[str, Any], **config: Any) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: paths of sockets have a length limit
        self._head: subprocess.Popen[bytes] | None = None
        super().__init__(head_resources, worker_node_types, autoscaler_v2=True, **config)

    @property
    def provider(self) -> dict[str, Any]:
        return self._config["provider"]

    def _generate_config(
        self, head_resources: dict[str, int], worker_node_types: dict[str, Any], autoscaler_v2: bool, **config: Any
    ) -> dict[str, Any]:
        steps = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
        return {
            "cluster_name": "autoscaling-test",
            "max_workers": sum(kind["max_workers"] for kind in worker_node_types.values()),
            "provider": {
                "type": "external",  # with "module"; "fake_multinode" by name would read the file that is not there
                "disable_launch_config_check": True,
                "disable_node_updaters": True,
                "gcs_address": self.address,
                "head_node_id": FAKE_HEAD_NODE_ID,
                "launch_multiple": autoscaler_v2,
            },
            "auth": {"ssh_user": "root"},
            "head_node_type": FAKE_HEAD_NODE_TYPE,
            "available_node_types": {
                FAKE_HEAD_NODE_TYPE: {"resources": dict(head_resources), "node_config": {}, "max_workers": 0},
                **worker_node_types,
            },
            **{f"{step}_commands": [] for step in steps},
            "cluster_synced_files": [],
            **config,
        }

    def start(self, _system_config: dict[str, Any] | None = None, override_env: dict[str, str] | None = None) -> None:
        """Start the head and return once it accepts connections at `address`."""
        config, log = self._folder / "autoscaler.json", self._folder / "head.log"
        config.write_text(json.dumps(self._config))
        host, port = self.address.split(":")
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
            *(f"--autoscaling-config={config}", f"--system-config={json.dumps(_system_config or {})}"),
            *(f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false"),
            *(f"--num-cpus={self._head_resources['CPU']}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
            *(f"--ray-client-server-port={free_port()}", f"--temp-dir={self._folder}"),
        ]
        env = {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"),  # what the connecting driver will assume
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_FAKE_CLUSTER": "1",
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_enable_autoscaler_v2": "1",
        }
        self._head = head_of(command, os.environ | env | (override_env or {}), log)

    def shutdown(self) -> None:
        """End the head and every process below it, and remove its folder."""
        if self._head is not None:
            end(self._head)
        shutil.rmtree(self._folder, ignore_errors=True)
