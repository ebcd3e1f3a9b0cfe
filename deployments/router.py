"""Sends a request to the GPU replica of a node that has room, as the caller names them."""

import random
from collections.abc import Sequence

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

NODES = "nodes"
"""The keyword argument of a replica's `run` that names the nodes; the router reads it on the way."""


class GpuNodeRouter(RequestRouter):
    """The power of two choices among the replicas on the nodes that a request names.

    Requests are not served in the order of their arrival at the router (Serve's FIFO mix-in), because a replica that
    was found for one request may stand on a node that the next one must avoid.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return two replicas to ask for the shorter queue, in random order."""
        nodes = pending_request.kwargs.get(NODES, ()) if pending_request is not None else ()
        # Where none of the nodes has a replica any more, any will do: what it refuses, the CPU replica answers.
        candidates = on_nodes(candidate_replicas, nodes) or candidate_replicas
        return [random.sample(candidates, min(2, len(candidates)))]


def on_nodes(replicas: list[RunningReplica], nodes: Sequence[str]) -> list[RunningReplica]:
    """The replicas that run on one of these nodes."""
    return [replica for replica in replicas if replica.node_id in nodes]
