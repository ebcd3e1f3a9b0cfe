"""Serve's router with our choice of replicas, in this process and without a cluster."""

import asyncio
from typing import Any

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve.request_router import PendingRequest

from deployments.router import REPLICAS, GpuRouter

EMBEDDER = DeploymentID("embedder", "trivet")


class Replica:
    """A replica that answers how many requests it has."""

    max_ongoing_requests = 2
    node_id = "node"
    availability_zone = None
    multiplexed_model_ids: frozenset[str] = frozenset()

    def __init__(self, name: str, waiting: int = 0) -> None:
        self.replica_id = ReplicaID(name, EMBEDDER)
        self.waiting = waiting
        self.asked = 0

    async def get_queue_len(self, *, deadline_s: float) -> int:
        self.asked += 1
        await asyncio.sleep(0.001)
        return self.waiting


def router_of(*replicas: Replica) -> GpuRouter:
    router: Any = GpuRouter(EMBEDDER, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True)
    router.update_replicas(list(replicas))
    return router  # type: ignore[no-any-return]


def call(*names: str) -> PendingRequest:
    """A call of one HTTP request, whose id all of its calls share."""
    return PendingRequest([], {REPLICAS: names}, RequestMetadata("http", "http"))


@pytest.mark.timeout(10, method="thread")  # without our choice it spins, and no signal gets through
async def test_calls_of_one_http_request_at_the_same_time_all_find_their_replica() -> None:
    router: Any = router_of(Replica("a"), Replica("b"))
    calls = [call("a"), call("b"), call("b")]
    chosen = await asyncio.gather(*(router._choose_replica_for_request(one) for one in calls))
    assert [replica.replica_id.unique_id for replica in chosen] == ["a", "b", "b"]


@pytest.mark.timeout(10)
async def test_full_replicas_are_asked_again_with_pauses() -> None:
    full = Replica("a", waiting=2)
    router: Any = router_of(full)
    waiting = asyncio.ensure_future(router._choose_replica_for_request(call("a")))
    await asyncio.sleep(0.3)
    assert full.asked < 30
    full.waiting = 0
    assert (await waiting).replica_id == full.replica_id
