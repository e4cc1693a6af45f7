"""A cloud without spot capacity: nodes are processes of this machine, and a spot request is refused at once."""

import sys
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from spot_first import SpotFirst


class SoldOut(FakeMultiNodeProvider):
    def create_node_with_resources_and_labels(self, node_config: dict[str, Any], *rest: Any) -> Any:
        if "InstanceMarketOptions" in node_config:
            raise NodeLaunchException("InsufficientInstanceCapacity", "no spot capacity", sys.exc_info())
        return super().create_node_with_resources_and_labels(node_config, *rest)


class SpotFirstSoldOut(SpotFirst, SoldOut):
    pass
