"""Which nodes of the cluster have a GPU of ours to watch."""

from typing import Any, cast

import ray

from trivet.config import AppConfig


def gpu_nodes(config: AppConfig) -> dict[str, str]:
    """Live nodes with a GPU, by id, each with its name; every live node where GPUs are modelled and none books one.

    Blocks while it asks the cluster.
    """
    nodes = cast("list[dict[str, Any]]", ray.nodes())  # type: ignore[no-untyped-call]
    alive = [node for node in nodes if node["Alive"]]
    with_gpu = [node for node in alive if node["Resources"].get("GPU")]
    if not with_gpu and config.device == "simulated":
        with_gpu = alive
    return {node["NodeID"]: node["NodeName"] for node in with_gpu}


def this_node() -> str:
    """Id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())
