"""Cloud node providers for Ray's launcher that ask for spot and, where it is refused, take the same machine on demand.

Ray's autoscaler lowers a node type only when its nodes do not come up in time. One that is refused at once, as spot
capacity is, it asks for again every few seconds, for ever, and never tries the next node type. So the second choice is
made here, where the refusal arrives. Named in a cluster file as `type: external, module: spot_first.aws` (or `.gcp`).
"""

from __future__ import annotations

import logging
from typing import Any

from ray.autoscaler._private.providers import _get_node_provider_cls

logger = logging.getLogger(__name__)

_SPOT_TERMS = {"provisioningModel", "instanceTerminationAction", "preemptible", "automaticRestart"}


class SpotFirst:
    """Goes before a node provider in a class's bases."""

    def create_node_with_resources_and_labels(
        self, node_config: dict[str, Any], tags: dict[str, str], count: int, resources: Any, labels: Any
    ) -> Any:
        create = super().create_node_with_resources_and_labels  # type: ignore[misc]
        plain = on_demand(node_config)
        try:
            return create(node_config, tags, count, resources, labels)
        except Exception as refusal:
            if plain == node_config:
                raise
            logger.warning("Spot refused %d nodes, taking them on demand: %s", count, refusal)
            return create(plain, tags, count, resources, labels)


def on_demand(node_config: dict[str, Any]) -> dict[str, Any]:
    """The same machine without the spot terms, in the words of EC2 and of Compute Engine."""
    plain = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
    if "scheduling" in plain:
        plain["scheduling"] = {key: value for key, value in plain["scheduling"].items() if key not in _SPOT_TERMS}
    return plain


def __getattr__(name: str) -> type:
    """`aws` and `gcp`: made when asked for, because each needs its cloud's own library."""
    if name not in ("aws", "gcp"):
        raise AttributeError(name)
    return type(name, (SpotFirst, _get_node_provider_cls({"type": name})), {})
