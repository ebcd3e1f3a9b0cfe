"""`/healthz` reports failing forwards without waiting for a replica; `/readyz` reports every lane."""

import asyncio

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.config import Lane
from trivet.dispatch.protocol import Readiness
from trivet.messages import Health

OK = Health(True, "cpu", "answers")
STARTING = Health(False, "cpu", "no answer: TimeoutError")
OFFLOADED = Health(False, "simulated:0", "its weights are off the GPU")
FAILING = Health(False, "cpu", "the last 3 forwards failed: boom", failing=True)


class Lanes(FakeDispatcher):
    def __init__(self, **lanes: dict[Lane, Health]) -> None:
        super().__init__()
        self.lanes = lanes
        self.gate = asyncio.Event()
        self.gate.set()

    async def readiness(self) -> Readiness:
        await self.gate.wait()
        return Readiness(dict(self.lanes), dict.fromkeys(self.lanes, "a reason"))


async def asked_twice(client: httpx.AsyncClient) -> httpx.Response:
    """The first one only asks the lanes."""
    await client.get("/healthz")
    await asyncio.sleep(0.01)
    return await client.get("/healthz")


@pytest.mark.parametrize(
    ("lanes", "status", "ready"),
    [
        ({"cpu": OK}, 200, 200),
        ({"cpu": STARTING}, 200, 503),
        ({"gpu": OFFLOADED, "cpu": OK}, 200, 200),  # as on a card that another program has filled
        ({"gpu": STARTING, "cpu": OK}, 200, 200),
        ({"gpu": FAILING, "cpu": OK}, 200, 200),
        ({"cpu": FAILING}, 503, 503),
        ({"gpu": FAILING, "cpu": FAILING}, 503, 503),
        ({"gpu": OFFLOADED, "cpu": FAILING}, 503, 503),
    ],
)
async def test_health_is_red_where_no_lane_answers_since_forwards_fail(
    connect_new: Connect, lanes: dict[Lane, Health], status: int, ready: int
) -> None:
    client = connect_new(Lanes(embedder=lanes, reranker={"cpu": OK}))
    answer = await asked_twice(client)
    assert answer.status_code == status
    if status == 503:
        assert answer.json() == {"status": "failing", "models": {"embedder": FAILING.detail}}
        assert answer.headers["retry-after"] == "1"
    assert (await client.get("/readyz")).status_code == ready


async def test_a_lost_lane_degrades_a_service_that_was_ready(connect_new: Connect) -> None:
    dispatcher = Lanes(embedder={"gpu": OK, "cpu": OK})
    client = connect_new(dispatcher)
    assert (await client.get("/readyz")).json()["status"] == "ready"
    dispatcher.lanes["embedder"] = {"gpu": FAILING, "cpu": OK}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["models"]["embedder"]["lanes"]["gpu"]["detail"] == FAILING.detail
    dispatcher.lanes["embedder"] = {"gpu": FAILING, "cpu": FAILING}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


async def test_health_waits_for_no_replica(connect_new: Connect) -> None:
    dispatcher = Lanes(embedder={"cpu": FAILING})
    dispatcher.gate.clear()
    client = connect_new(dispatcher)
    async with asyncio.timeout(5):
        assert (await asked_twice(client)).status_code == 200  # nothing is known yet
    dispatcher.gate.set()
    assert (await asked_twice(client)).status_code == 503
