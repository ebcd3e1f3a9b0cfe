"""A GPU replica that does not answer any more: requests that wait for it go elsewhere, and the answer says why."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from deployments import dispatcher as module
from deployments.dispatcher import RayDispatcher
from deployments.replica import ModelReplica
from deployments.vram import controller
from tests.deployments.test_last_resort import REQUEST, Counts, Replicas, result
from trivet.config import AppConfig
from trivet.dispatch.protocol import Routed
from trivet.errors import GpuUnavailable
from trivet.gpu import GpuId
from trivet.messages import EmbedResult
from trivet.metrics import REROUTES
from trivet.vram.types import Cause, Decision, Observation, Snapshot

FIRST, SECOND = GpuId("node", "GPU-a"), GpuId("node", "GPU-b")


def snapshot(gpu: GpuId, cause: Cause) -> Snapshot:
    lane: Any = "gpu" if cause == "room" else "cpu"
    decision = Decision(
        model="embedder", lane=lane, cause=cause, reason=f"{gpu.uuid}: {cause}", since_s=0.0, free_bytes=0
    )
    return Snapshot(
        version=1,
        at_s=float("inf"),
        device=gpu.uuid,
        decisions={"embedder": decision},
        observation=Observation(at_s=0.0, device=gpu.uuid),
        replicas={"embedder": (f"on {gpu.uuid}",)},
    )


class Feed:
    """The decisions of one GPU or of two."""

    def __init__(self, *gpus: GpuId) -> None:
        self.latest = {gpu: snapshot(gpu, "room") for gpu in gpus}

    def decide(self, gpu: GpuId, cause: Cause) -> None:
        self.latest[gpu] = snapshot(gpu, cause)


class Asked:
    """One request to an embedder with a CPU replica and GPU replicas."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, feed: Feed, gpu: Replicas) -> None:
        monkeypatch.setattr(module, "_LOOK_FOR_STUCK_S", 0.005)
        monkeypatch.setattr(module, "has_lost_all_replicas", lambda *_: False)
        self.cpu, self.gpu, self.counts = Replicas(result("cpu")), gpu, Counts()
        handles: Any = {"embedder": {"cpu": self.cpu, "gpu": gpu}}
        dispatcher = RayDispatcher(handles, feed, AppConfig(), self.counts)  # type: ignore[arg-type]
        self.answer: asyncio.Future[Routed[EmbedResult]] = asyncio.ensure_future(dispatcher.call(REQUEST))


@pytest.mark.parametrize("cause", ["stuck", "no_reading"])
async def test_a_request_that_waits_for_it_goes_to_the_cpu(monkeypatch: pytest.MonkeyPatch, cause: Cause) -> None:
    feed = Feed(FIRST)
    asked = Asked(monkeypatch, feed, Replicas(result("cuda:0"), waits=True))
    await asyncio.sleep(0.03)
    assert not asked.answer.done()
    feed.decide(FIRST, cause)
    routed = await asyncio.wait_for(asked.answer, 5)
    assert (routed.result.device, routed.lane, routed.reroute_reason) == ("cpu", "cpu", f"GPU-a: {cause}")
    assert asked.counts.events == [(REROUTES.name, {"model": "embedder", "cause": "gpu_stuck"})]
    await asyncio.sleep(0.01)
    assert asked.gpu.cancelled == 1, "should it answer again, it need not compute this"


@pytest.mark.parametrize("cause", ["low_memory", "offloaded", "dwell"])
async def test_a_request_that_was_sent_before_the_gpu_was_full_stays(
    monkeypatch: pytest.MonkeyPatch, cause: Cause
) -> None:
    feed = Feed(FIRST)
    asked = Asked(monkeypatch, feed, Replicas(result("cuda:0"), waits=True))
    await asyncio.sleep(0.02)
    feed.decide(FIRST, cause)
    await asyncio.sleep(0.05)
    assert not asked.answer.done()
    asked.gpu.waits = False
    routed = await asyncio.wait_for(asked.answer, 5)
    assert (routed.lane, routed.reroute_reason, asked.cpu.calls) == ("gpu", None, [])


async def test_of_two_gpus_the_other_one_is_asked_too_and_the_first_answer_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = Feed(FIRST, SECOND)
    asked = Asked(monkeypatch, feed, Replicas(result("cuda:1"), waits=True))
    await asyncio.sleep(0.02)
    feed.decide(FIRST, "stuck")
    await asyncio.sleep(0.1)
    assert asked.gpu.cancelled == 0, "it may be the other one that computes it"
    asked.gpu.waits = False
    routed = await asyncio.wait_for(asked.answer, 5)
    assert (routed.result.device, routed.lane) == ("cuda:1", "gpu")
    assert [call["replicas"] for call in asked.gpu.calls] == [("on GPU-a", "on GPU-b"), ("on GPU-b",)]


async def test_of_two_gpus_that_hang_the_cpu_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(FIRST, SECOND)
    asked = Asked(monkeypatch, feed, Replicas(result("cuda:1"), waits=True))
    await asyncio.sleep(0.02)
    feed.decide(FIRST, "stuck")
    await asyncio.sleep(0.05)
    feed.decide(SECOND, "stuck")
    routed = await asyncio.wait_for(asked.answer, 5)
    assert (routed.lane, routed.reroute_reason) == ("cpu", "GPU-b: stuck")
    await asyncio.sleep(0.01)
    assert asked.gpu.cancelled == len(asked.gpu.calls) == 2


async def test_a_restarted_vram_actor_says_nothing_about_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(FIRST)
    asked = Asked(monkeypatch, feed, Replicas(result("cuda:0"), waits=True))
    await asyncio.sleep(0.02)
    feed.latest.clear()
    await asyncio.sleep(0.05)
    assert asked.gpu.cancelled == 0
    asked.gpu.waits = False
    assert (await asyncio.wait_for(asked.answer, 5)).lane == "gpu"


async def test_a_caller_that_leaves_cancels_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, Feed(FIRST), Replicas(result("cuda:0"), waits=True))
    await asyncio.sleep(0.02)
    asked.answer.cancel()
    await asyncio.gather(asked.answer, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert asked.gpu.cancelled == 1


async def test_a_replica_whose_forward_does_not_end_is_not_ready_and_names_its_gpu() -> None:
    scheduler = SimpleNamespace(failing=None, stuck="a forward has been running for 7 s", waiting_tokens=0)
    engine = SimpleNamespace(fault=None, scheduler=scheduler, has_answered=True, device="cuda:0", card=None)
    lane = SimpleNamespace(gpu=SimpleNamespace(offloaded=False), resting=None)
    replica: Any = SimpleNamespace(_lane=lane, _engine=engine, _rest=None, _gpu=FIRST)
    health = await ModelReplica.health(replica)
    assert (health.ready, health.failing, health.detail) == (False, False, "a forward has been running for 7 s")
    scheduler.stuck = None
    assert (await ModelReplica.health(replica)).ready
    refused = await ModelReplica._reply(replica, GpuUnavailable("a forward has been running for 7 s"))
    assert isinstance(refused, GpuUnavailable)
    assert refused.gpu == FIRST


async def test_reports_go_on_after_one_that_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without reports a replica counts as one that does not answer."""
    monkeypatch.setattr(controller, "_STEP_S", 0.001)
    reported = asyncio.Event()
    outcomes = iter([ValueError("the ledger is locked"), None])

    async def report() -> None:
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome
        reported.set()

    replica: Any = SimpleNamespace(_report=report, _task="embedder")
    reporting = asyncio.ensure_future(controller.GpuController._report_regularly(replica))
    await asyncio.wait_for(reported.wait(), 5)
    reporting.cancel()
    assert "embedder: a report to the VRAM actor failed" in caplog.text
    assert "the ledger is locked" in caplog.text
