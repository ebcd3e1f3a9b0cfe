"""Routes a request to one of the GPU replicas that the caller names."""

import random
from collections.abc import Collection

from ray.serve._private.common import RequestMetadata
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica
from typing_extensions import override

REPLICAS = "replicas"
"""The keyword argument of a replica's `run` that names the replicas to choose from, which the router reads."""


class GpuRouter(RequestRouter):
    """Chooses the better of two random replicas among those that a request names.

    Does not use Serve's FIFO mix-in, which hands a replica found for one request to the oldest waiting one: the replica
    may be on a GPU that the other request must avoid.
    """

    @override
    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return two random replicas, of which Serve takes the one with the shorter queue."""
        ids = pending_request.kwargs.get(REPLICAS, ()) if pending_request is not None else ()
        # If none of them is there any more, any replica will do: another lane serves requests that it rejects.
        candidates = named(candidate_replicas, ids) or candidate_replicas
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # otherwise Serve asks full replicas without a pause
        return [random.sample(candidates, min(2, len(candidates)))]

    @override
    def _get_pending_request_matching_internal_request_id(
        self, request_metadata: RequestMetadata | None = None
    ) -> PendingRequest | None:
        """Return the waiting call to which this metadata belongs.

        Serve looks it up by the id of the HTTP request, which all calls of that request share. Of two calls that wait
        at the same time it finds one, and for the other it would go on choosing replicas forever, without a pause.
        """
        waiting = self._pending_requests_to_fulfill
        return next((call for call in waiting if call.metadata is request_metadata and not call.future.done()), None)


def named(replicas: list[RunningReplica], ids: Collection[str]) -> list[RunningReplica]:
    """Return the replicas with one of these ids."""
    return [replica for replica in replicas if replica.replica_id.unique_id in ids]
