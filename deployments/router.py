"""Routes requests to replicas: to GPU replicas that the caller names, and to any CPU replica.

Serve copies this module by value into each process that calls, so it has no state of its own.
"""

import random
from collections.abc import Collection
from typing import Any

from ray.serve._private.common import RequestMetadata
from ray.serve.request_router import FIFOMixin, PendingRequest, RequestRouter, RunningReplica
from typing_extensions import override

from deployments.cpu_routers import add_router

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
        return _two_of(named(candidate_replicas, ids) or candidate_replicas, pending_request)

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


class CpuRouter(FIFOMixin, RequestRouter):
    """Chooses the better of two random replicas, as Serve's own router does, and knows when none is left.

    Serve keeps a request that finds no replica until one has started, and does not tell its caller.
    """

    def __init__(self, deployment_id: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(deployment_id, *args, **kwargs)  # type: ignore[no-untyped-call]
        self._had_replicas = False
        self.deployment = (deployment_id.app_name, deployment_id.name)
        add_router(self)

    @property
    def has_lost_all(self) -> bool:
        """Whether there were replicas, and none is left."""
        return self._had_replicas and not self.curr_replicas

    @override
    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Learn which replicas run; Serve calls this when they change."""
        super().update_replicas(replicas)
        self._had_replicas |= bool(replicas)

    @override
    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return two random replicas, of which Serve takes the one with the shorter queue."""
        return _two_of(candidate_replicas, pending_request)


def named(replicas: list[RunningReplica], ids: Collection[str]) -> list[RunningReplica]:
    """Return the replicas with one of these ids."""
    return [replica for replica in replicas if replica.replica_id.unique_id in ids]


def _two_of(replicas: list[RunningReplica], request: PendingRequest | None) -> list[list[RunningReplica]]:
    if request is not None:
        request.routing_context.should_backoff = True  # otherwise Serve asks full replicas again without a pause
    return [random.sample(replicas, min(2, len(replicas)))]
