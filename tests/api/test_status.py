"""`/v1/status`: lanes with their reasons, traffic, reroutes; and how rarely it calls the replicas."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Connect, client_of
from tests.support.dispatcher import FakeDispatcher
from tests.ui.simulated import SimulatedDispatcher
from trivet.api.app import create_app
from trivet.api.routes.status import gpu_answer
from trivet.api.settings import ApiSettings
from trivet.config import TASKS, AppConfig
from trivet.dispatch.protocol import Readiness
from trivet.dispatch.readiness_cache import CachedReadiness
from trivet.dispatch.reroute_log import MAX_REROUTES
from trivet.dispatch.status import cpu_only_reason, gpu_status
from trivet.dispatch.traffic import MeasuringDispatcher, Traffic
from trivet.errors import InvalidInput, Overloaded
from trivet.messages import EmbedRequest
from trivet.metrics import NO_METRICS
from trivet.vram.types import Decision, Observation, Snapshot, Tenant


async def status_of(client: httpx.AsyncClient) -> dict:
    answer = await client.get("/v1/status")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def test_without_a_gpu_it_says_why(client: httpx.AsyncClient) -> None:
    status = await status_of(client)
    assert status["gpus"] == []
    assert status["cpu_only_reason"] == "the fake dispatcher has no GPU"
    assert set(status["models"]) == set(TASKS)
    embedder = status["models"]["embedder"]
    assert (embedder["lane"], embedder["cause"]) == ("cpu", None)
    assert embedder["name"] == "tests/fake-embedder"
    assert embedder["lanes"]["cpu"]["ready"] is True


async def test_traffic_shows(connect_new: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect_new(dispatcher)
    await client.post("/v1/embeddings", json={"input": "three short words"})
    await client.post("/v1/relations", json={"source": "a b", "candidates": ["b c", "d"]})
    models = (await status_of(client))["models"]
    assert models["embedder"]["last_minute"]["calls"] == 1
    assert models["embedder"]["last_minute"]["tokens"] == 3
    assert models["embedder"]["last_minute"]["p50_ms"] > 0
    assert models["reranker"]["last_minute"]["calls"] == 1
    assert models["classifier"]["last_minute"]["calls"] == 1
    assert models["classifier"]["in_flight"] == 0


@pytest.mark.slow
async def test_two_applications_of_one_service_report_the_same_traffic(tmp_path: Path) -> None:
    dispatcher = FakeDispatcher(reroute_reason="no room")
    apps = [create_app(dispatcher, ApiSettings(), shared_folder=tmp_path) for _ in range(2)]
    clients = [client_of(app) for app in apps]
    for number in range(7):
        await clients[number % 2].post("/v1/embeddings", json={"input": "a b"})
    statuses = [await status_of(clients[number % 2]) for number in range(10)]
    for status in statuses:
        minute = status["models"]["embedder"]["last_minute"]
        assert (minute["calls"], minute["rerouted"], minute["tokens"]) == (7, 7, 14)
        assert [reroute["requests"] for reroute in status["reroutes"]] == [7]
    assert len({status["models"]["embedder"]["last_minute"]["p95_ms"] for status in statuses}) == 1


class Busier(FakeDispatcher):
    """Its embedder has a longer queue each time that it is asked."""

    asked = 0

    async def readiness(self) -> Readiness:
        self.asked += 1
        known = await super().readiness()
        health = replace(known.lanes["embedder"]["cpu"], waiting_tokens=100 * self.asked, rss_bytes=self.asked)
        return replace(known, lanes={**known.lanes, "embedder": {"cpu": health}})


async def test_two_applications_of_one_service_show_the_newest_reading_of_a_lane(tmp_path: Path) -> None:
    dispatcher = Busier()
    apps = [create_app(dispatcher, ApiSettings(), shared_folder=tmp_path) for _ in range(2)]
    clients = [client_of(app) for app in apps]
    seen = [(await status_of(clients[n % 2]))["models"]["embedder"]["lanes"]["cpu"] for n in range(4)]
    assert [(lane["waiting_tokens"], lane["rss_bytes"]) for lane in seen] == [(100, 1), (200, 2), (200, 2), (200, 2)]


async def test_reroutes_are_listed_once_a_reason(connect_new: Connect) -> None:
    dispatcher = FakeDispatcher(reroute_reason="no room")
    client = connect_new(dispatcher)
    for _ in range(3):
        await client.post("/v1/embeddings", json={"input": "a"})
    dispatcher.reroute_reason = "still no room"
    await client.post("/v1/embeddings", json={"input": "a"})
    status = await status_of(client)
    reroutes = [(reroute["reason"], reroute["requests"]) for reroute in status["reroutes"]]
    assert reroutes == [("still no room", 1), ("no room", 3)]
    assert status["models"]["embedder"]["last_minute"]["rerouted"] == 4


async def test_a_simulated_gpu_and_its_decisions(connect_new: Connect, tmp_path: Path) -> None:
    dispatcher = SimulatedDispatcher(tmp_path)
    client = connect_new(dispatcher)
    status = await status_of(client)
    (gpu,) = status["gpus"]
    assert gpu["simulated"] is True
    assert gpu["device"] == "simulated:0"
    assert sum(gpu["ours_bytes"].values()) + gpu["external_bytes"] + gpu["free_bytes"] == gpu["total_bytes"]
    assert status["models"]["reranker"]["lane"] == "gpu"
    assert status["policy"]["reroute_below_bytes"] == 500 * 1024**2

    dispatcher.squeeze()
    squeezed = (await status_of(client))["models"]["reranker"]
    assert (squeezed["lane"], squeezed["cause"]) == ("cpu", "low_memory")
    assert "500 MiB needed" in squeezed["reason"]
    assert squeezed["lane_age_s"] < 5


def test_models_of_an_ollama_are_named() -> None:
    tenant = Tenant(name="mistral:7b", vram_bytes=4 << 30, expires_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    gpu = gpu_status(replace(snapshot_at(5000.0, 70.0), tenants=(tenant,)), ["embedder"], 72.0, AppConfig())
    assert gpu_answer(gpu)["tenants"] == [
        {"name": "mistral:7b", "vram_bytes": 4 << 30, "expires_at": "2026-01-02T03:04:00+00:00"}
    ]


def decision(lane_since_s: float) -> Decision:
    return Decision(model="embedder", lane="gpu", cause="room", reason="", since_s=lane_since_s, free_bytes=0)


def snapshot_at(sent_s: float, received_s: float) -> Snapshot:
    observation = Observation(at_s=sent_s, device="0: gpu")
    sent = Snapshot(
        version=1, at_s=sent_s, device="0: gpu", decisions={"embedder": decision(sent_s - 30)}, observation=observation
    )
    return sent.received(received_s)


def test_a_lanes_age_holds_across_machines_whose_clocks_differ() -> None:
    status = gpu_status(snapshot_at(5000.0, 70.0), ["embedder"], 72.0, AppConfig())
    assert status.age_s == 2.0
    assert status.lane_age_s["embedder"] == 32.0


def test_an_old_snapshot_sends_everything_to_the_cpu_and_says_so() -> None:
    status = gpu_status(snapshot_at(5000.0, 70.0), ["embedder"], 170.0, AppConfig())
    assert status.decisions["embedder"].lane == "cpu"
    assert status.lane_age_s["embedder"] is None


def test_before_the_first_snapshot() -> None:
    status = gpu_status(None, ["embedder"], 1.0, AppConfig(device="simulated"))
    assert status.observation is None
    assert status.simulated
    assert status.decisions["embedder"].lane == "cpu"


@pytest.mark.parametrize(("device", "said"), [("cpu", "device: cpu"), ("auto", "no GPU was found")])
def test_why_there_is_only_a_cpu(device: str, said: str) -> None:
    assert said in cpu_only_reason(AppConfig.model_validate({"device": device}))


async def test_a_callers_mistake_is_no_failure_and_an_overload_is() -> None:
    inner = FakeDispatcher(error=InvalidInput("no", field="input", code="x"))
    traffic = Traffic(lambda: 5.0, lambda: 9.0)
    measuring = MeasuringDispatcher(inner, traffic, NO_METRICS, lambda: 5.0)
    rolling = traffic.models["embedder"].rolling
    with pytest.raises(InvalidInput):
        await measuring.call(EmbedRequest(("a",)))
    assert rolling.summary().calls == 0
    inner.error = Overloaded("full", retry_after_s=1.0)
    with pytest.raises(Overloaded):
        await measuring.call(EmbedRequest(("a",)))
    assert rolling.summary().failed == 1
    assert traffic.models["embedder"].in_flight == 0


def test_the_reroute_log_is_bounded_and_newest_first() -> None:
    moments = iter(range(10_000))
    log = Traffic(lambda: 0.0, lambda: float(next(moments))).reroutes
    for number in range(3 * MAX_REROUTES):
        log.add("embedder", f"reason {number}")
        log.add("reranker", "always the same")
    entries = log.newest_first()
    assert len(entries) == MAX_REROUTES
    assert (entries[0].model, entries[0].requests) == ("reranker", 3 * MAX_REROUTES)
    assert entries[0].first_at_s < entries[0].last_at_s


class Lanes:
    """Counts how often it is called; answers while its gate is open."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Readiness:
        self.asked += 1
        await self.gate.wait()
        return Readiness({}, {"asked": str(self.asked)})


async def test_lanes_are_asked_at_most_once_per_interval_and_only_the_first_caller_waits() -> None:
    now_s = 0.0
    lanes = Lanes()
    cached = CachedReadiness(lanes, lambda: now_s, max_age_s=2.0)
    first = await asyncio.gather(*(cached.latest() for _ in range(5)))
    assert lanes.asked == 1
    assert all(answer is first[0] for answer in first)
    now_s = 2.0
    lanes.gate.clear()
    assert await cached.latest() is first[0]  # old, and at once
    await asyncio.sleep(0)
    assert lanes.asked == 2
    assert await cached.latest() is first[0]
    lanes.gate.set()
    await asyncio.sleep(0.01)
    assert (await cached.latest()).reasons == {"asked": "2"}
    assert lanes.asked == 2


async def test_a_renewals_error_is_raised_and_the_next_call_asks_again() -> None:
    async def broken() -> Readiness:
        raise Overloaded("not now", retry_after_s=1.0)

    cached = CachedReadiness(broken, lambda: 0.0, max_age_s=2.0)
    for _ in range(2):
        with pytest.raises(Overloaded):
            await cached.latest()
