"""The autoscaling helper itself: without it the elastic pool could not be tested on one machine."""

import psutil
import ray

from tests.cluster.autoscaling import autoscaling_cluster, reached, worker_nodes


@ray.remote(num_cpus=1)
class Holder:
    """Keeps one CPU for as long as it lives, as a worker of the pool does."""

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()


def processes_naming(text: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if text in " ".join(process.info["cmdline"] or [])]


def test_a_cluster_starts_without_workers_grows_to_three_shrinks_to_none_and_leaves_nothing_behind() -> None:
    with autoscaling_cluster(max_workers=3, cpus_per_worker=1) as address:
        port = address.split(":")[1]
        assert processes_naming(f":{port}")
        ray.init(address, log_to_driver=False)
        try:
            assert worker_nodes() == set()

            holders = [Holder.remote() for _ in range(3)]
            homes = set(ray.get([holder.node.remote() for holder in holders], timeout=60))
            assert homes == worker_nodes()
            assert len(homes) == 3

            for holder in holders:
                ray.kill(holder)
            assert reached(lambda: worker_nodes() == set(), 60)
        finally:
            ray.shutdown()
    assert not processes_naming(f":{port}")
