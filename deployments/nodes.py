"""Lists the cluster's nodes whose GPU is to be watched."""

from typing import Any, cast

import ray

from trivet.config import AppConfig


def gpu_nodes(config: AppConfig) -> dict[str, str]:
    """Return live nodes with a GPU, id → name. With `device: simulated` and no real GPU these are all live nodes.

    Blocks while it queries the cluster.
    """
    nodes = cast("list[dict[str, Any]]", ray.nodes())
    alive = [node for node in nodes if node["Alive"]]
    with_gpu = [node for node in alive if node["Resources"].get("GPU")]
    if not with_gpu and config.device == "simulated":
        with_gpu = alive
    return {node["NodeID"]: node["NodeName"] for node in with_gpu}


def gpus_per_node() -> int:
    """Return the largest number of GPUs of any live node, at least 1. Blocks while it queries the cluster."""
    nodes = cast("list[dict[str, Any]]", ray.nodes())
    return max((int(node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]), default=1) or 1


def this_node() -> str:
    """Return the id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())
