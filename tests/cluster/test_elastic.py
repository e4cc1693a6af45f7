"""The whole run on clusters that come and go: from no node to three and back, a node that announces its end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from seal_ray.workers.pool import Pool
from tests.chaos.cluster import TINY
from tests.cluster.autoscaling import OBJECT_STORE_BYTES, autoscaling_cluster, reached, worker_nodes
from tests.gated import Gate
from tests.runs import results, start

pytestmark = pytest.mark.usefixtures("no_ray")


def processes_naming(text: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if text in " ".join(process.info["cmdline"] or [])]


def test_a_run_starts_on_no_worker_node_grows_to_three_finishes_and_leaves_none(
    tmp_path: Path, forking_python: str
) -> None:
    folder, gate = tmp_path / "run", Gate(tmp_path / "gate")
    with autoscaling_cluster(max_workers=3, cpus_per_worker=1, idle_seconds=20) as address:
        port = address.split(":")[1]
        assert processes_naming(f":{port}")
        ray.init(address, log_to_driver=False)
        assert worker_nodes() == set()
        gate.allow(0)  # the run waits for its last node, however quick it would be without
        more = ("--workers.cpus", "1", "--workers.address", address, *gate.arguments)
        process = start(folder, *TINY, *more, python=forking_python)
        at_once = {0}  # one that a busy machine keeps from answering in time is replaced, so that more are seen in all

        def seen_or_ended(nodes: int) -> bool:
            at_once.add(len(worker_nodes()))
            return max(at_once) >= nodes or process.poll() is not None

        assert reached(lambda: seen_or_ended(3), 600)
        gate.open()
        assert reached(lambda: seen_or_ended(1 << 30), 600)
        assert process.returncode == 0, folder.with_suffix(".log").read_text()
        assert max(at_once) == 3  # one for the sampler, two for the trainers
        assert reached(lambda: worker_nodes() == set(), 600)
    assert not processes_naming(f":{port}")
    assert results(folder)["policies"].keys() == {1}


class Homebody:
    """Says where it is, and lingers there until told to go on."""

    def __init__(self) -> None:
        self._go = asyncio.Event()

    async def setup(self) -> None: ...

    async def node(self) -> str:
        return ray.get_runtime_context().get_node_id()

    async def linger(self) -> str:
        await self._go.wait()
        return await self.node()

    async def go(self) -> None:
        self._go.set()


def test_a_node_that_announces_its_end_gets_no_more_calls_and_may_finish_what_it_holds() -> None:
    cluster = Cluster()
    cluster.add_node(num_cpus=0, object_store_memory=OBJECT_STORE_BYTES)
    cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    ray.init(cluster.address, log_to_driver=False)
    homebody = ray.remote(Homebody).options(num_cpus=1)

    async def main() -> None:
        handles = []

        def spawn() -> object:
            handles.append(homebody.remote())
            return handles[-1]

        pool = Pool("homebody", spawn, lambda handle: handle.setup.remote(), size=1, depth=4)
        first = await pool.call("node")
        held = asyncio.create_task(pool.call("linger"))
        announce_end(cluster.address, first)
        async with asyncio.timeout(600):
            while not pool.stats.drained:
                await asyncio.sleep(0.05)
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
        assert await pool.call("node") != first
        await handles[0].go.remote()
        assert await held == first
        assert (pool.stats.retried, pool.stats.lost, pool.workers) == (0, 0, 1)
        await pool.close()

    try:
        asyncio.run(main())
    finally:
        ray.shutdown()  # a cluster that is still connected to does not go
        cluster.shutdown()


def announce_end(address: str, node: str) -> None:
    """As `cluster/drain_on_notice.sh` does on a spot node that is told to go."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "told to go"]
    subprocess.run([*command, *reason, "--deadline-remaining-seconds", "120"], check=True, timeout=600)
