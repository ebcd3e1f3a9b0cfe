"""Routes a request to a GPU replica on one of the nodes that the caller names."""

import random
from collections.abc import Sequence

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica
from typing_extensions import override

NODES = "nodes"
"""The keyword argument of a replica's `run` that names the nodes, which the router reads."""


class GpuNodeRouter(RequestRouter):
    """Chooses the better of two random replicas among those on the nodes that a request names.

    Does not use Serve's FIFO mix-in, which hands a replica found for one request to the oldest waiting one: the replica
    may be on a node that the other request must avoid.
    """

    @override
    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return two random replicas, of which Serve takes the one with the shorter queue."""
        nodes = pending_request.kwargs.get(NODES, ()) if pending_request is not None else ()
        # If no node has a replica any more, any replica will do: the CPU replica serves requests that it rejects.
        candidates = on_nodes(candidate_replicas, nodes) or candidate_replicas
        return [random.sample(candidates, min(2, len(candidates)))]


def on_nodes(replicas: list[RunningReplica], nodes: Sequence[str]) -> list[RunningReplica]:
    """Return the replicas that run on one of these nodes."""
    return [replica for replica in replicas if replica.node_id in nodes]
