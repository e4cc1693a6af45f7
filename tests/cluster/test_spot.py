"""What happens when spot nodes are refused, and when they are taken back."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler.node_launch_exception import NodeLaunchException
from spot_first import SpotFirst, on_demand

from tests.cluster.autoscaling import CLUSTER, autoscaling_cluster, worker_nodes
from tests.cluster.sold_out import SpotFirstSoldOut


def gpu_node(cloud: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / f"{cloud}.yaml").read_text())["available_node_types"]["gpu"]["node_config"]


def test_on_demand_is_the_same_machine_without_the_spot_terms() -> None:
    aws, gcp = gpu_node("aws"), gpu_node("gcp")
    assert aws == on_demand(aws) | {"InstanceMarketOptions": {"MarketType": "spot"}}
    assert gcp | {"scheduling": None} == on_demand(gcp) | {"scheduling": None}
    assert on_demand(gcp)["scheduling"] == {"onHostMaintenance": "TERMINATE"}
    assert on_demand(on_demand(gcp)) == on_demand(gcp)


def test_a_refusal_that_is_not_about_spot_is_not_hidden() -> None:
    class Broken:
        def create_node_with_resources_and_labels(self, *request: Any) -> None:
            raise NodeLaunchException("InvalidAMI", "no such image", sys.exc_info())

    provider = type("BrokenSpotFirst", (SpotFirst, Broken), {})()
    for node_config in ({"InstanceType": "x"}, gpu_node("aws")):
        with pytest.raises(NodeLaunchException, match="no such image"):
            provider.create_node_with_resources_and_labels(node_config, {}, 1, {}, {})


def test_a_node_that_spot_refuses_is_taken_on_demand(no_ray: None) -> None:
    provider = f"{SpotFirstSoldOut.__module__}.{SpotFirstSoldOut.__name__}"
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    with autoscaling_cluster(max_workers=1, provider=provider, node_config=spot) as address:
        ray.init(address, log_to_driver=False)
        where = ray.remote(num_cpus=1)(lambda: ray.get_runtime_context().get_node_id())
        assert {ray.get(where.remote(), timeout=600)} == worker_nodes()


@pytest.fixture
def metadata() -> Iterator[str]:
    """The metadata services of both clouds, which announce the end of this node when asked a second time."""
    asked: list[str] = []

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            granted = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(200, "a-token") if granted else self.answer(400)

        def do_GET(self) -> None:
            asked.append(self.path)
            late = len(asked) > 1
            if self.path == "/latest/meta-data/spot/instance-action":
                granted = self.headers["X-aws-ec2-metadata-token"] == "a-token"
                self.answer(200 if late and granted else 404 if granted else 401, '{"action": "terminate"}')
            elif self.path == "/computeMetadata/v1/instance/preempted" and self.headers["Metadata-Flavor"] == "Google":
                self.answer(200, "TRUE" if late else "FALSE")
            else:
                self.answer(403)

        def answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        assert len(asked) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("cloud", "seconds"), [("aws", 110), ("gcp", 25)])
def test_a_node_drains_itself_when_its_cloud_announces_its_end(
    cloud: str, seconds: int, metadata: str, tmp_path: Path
) -> None:
    ray_command = tmp_path / "ray"
    ray_command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    ray_command.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    script = CLUSTER / "drain_on_notice.sh"
    subprocess.run(["bash", script, cloud, metadata], env=os.environ | {"PATH": path}, check=True, timeout=300)
    assert (tmp_path / "called").read_text() == (
        f"drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message {cloud} takes this node back "
        f"--deadline-remaining-seconds {seconds}\n"
    )
