"""Without a CPU replica a GPU that holds the weights answers although it has no room; the answer says why."""

import asyncio
from collections.abc import Generator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deployments import dispatcher as module
from deployments.dispatcher import RayDispatcher
from trivet.config import AppConfig
from trivet.dispatch.protocol import Routed
from trivet.errors import GpuUnavailable
from trivet.gpu import GpuId
from trivet.messages import EmbedRequest, EmbedResult, StageTimings, Usage
from trivet.metrics import LAST_RESORTS, REROUTES, Labels, Metric
from trivet.vram.types import Decision, Observation, Snapshot

REQUEST = EmbedRequest(("a",))
GPU = GpuId("node", "GPU-a")


def result(device: str) -> EmbedResult:
    return EmbedResult(np.zeros((1, 2), dtype=np.float32), Usage((1,), (1,), (False,)), StageTimings(), device)


class Replicas:
    """One lane's deployment: answers each call with its outcome, or never while `waits`."""

    app_name = "trivet"

    def __init__(self, outcome: object, *, waits: bool = False) -> None:
        self.outcome, self.waits = outcome, waits
        self.calls: list[Mapping[str, object]] = []
        self.cancelled = 0
        self.run = self.run_all = SimpleNamespace(remote=self._call)

    def _call(self, request: EmbedRequest, **kwargs: object) -> "Replicas":
        self.calls.append(kwargs)
        return self

    def __await__(self) -> Generator[Any, None, object]:
        while self.waits:
            yield from asyncio.sleep(0.001).__await__()
        return self.outcome

    def cancel(self) -> None:
        self.cancelled += 1


class Counts:
    """Keeps the labels of every event."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Labels]] = []

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        self.events.append((metric.name, labels))

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Nothing of this is looked at."""

    set = observe


def full_gpu(*, offloaded: bool = False) -> SimpleNamespace:
    """A feed whose only GPU has no room."""
    decision = Decision(model="embedder", lane="cpu", cause="low_memory", reason="too full", since_s=0.0, free_bytes=0)
    seen = Observation(at_s=0.0, device="0: gpu", offloaded=frozenset({"embedder"} if offloaded else ()))
    snapshot = Snapshot(
        version=1,
        at_s=float("inf"),
        device="0: gpu",
        decisions={"embedder": decision},
        observation=seen,
        replicas={"embedder": ("r1",)},
    )
    return SimpleNamespace(latest={GPU: snapshot})


async def ask(
    monkeypatch: pytest.MonkeyPatch, cpu: Replicas, gpu: Replicas, feed: object, *, lost: bool = True
) -> tuple[Routed[EmbedResult], Counts]:
    monkeypatch.setattr(module, "_LOOK_FOR_REPLICAS_S", 0.005)
    monkeypatch.setattr(module, "has_lost_all_replicas", lambda app, name: lost and (app, name) == NAMES)
    counts = Counts()
    handles: Any = {"embedder": {"cpu": cpu, "gpu": gpu}}
    dispatcher = RayDispatcher(handles, feed, AppConfig(), counts)  # type: ignore[arg-type]
    return await dispatcher.call(REQUEST), counts


NAMES = ("trivet", "embedder-cpu")


async def test_the_gpu_answers_where_no_cpu_replica_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = Replicas(result("cpu"), waits=True), Replicas(result("cuda:0"))
    routed, counts = await ask(monkeypatch, cpu, gpu, full_gpu())
    assert (routed.result.device, routed.lane) == ("cuda:0", "gpu")
    assert routed.reroute_reason == "too full; no cpu replica is running: the gpu answers all the same"
    assert counts.events == [(LAST_RESORTS.name, {"model": "embedder"})]
    assert gpu.calls == [{"replicas": ("r1",)}]
    await asyncio.sleep(0.01)
    assert cpu.cancelled == len(cpu.calls), "the CPU need not compute it any more"


@pytest.mark.parametrize("offloaded", [False, True], ids=["the GPU refuses", "its weights are off the GPU"])
async def test_the_cpu_answers_late_where_the_gpu_cannot(monkeypatch: pytest.MonkeyPatch, offloaded: bool) -> None:
    cpu, gpu = Replicas(result("cpu"), waits=True), Replicas(GpuUnavailable("no memory", gpu=GPU))
    asking = asyncio.ensure_future(ask(monkeypatch, cpu, gpu, full_gpu(offloaded=offloaded)))
    await asyncio.sleep(0.03)
    assert not asking.done()
    cpu.waits = False
    routed, counts = await asking
    assert (routed.result.device, routed.lane, routed.reroute_reason) == ("cpu", "cpu", "too full")
    assert counts.events == [(REROUTES.name, {"model": "embedder", "cause": "low_memory"})]
    assert len(gpu.calls) == (0 if offloaded else 1), "it is asked once"


async def test_with_cpu_replicas_the_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = Replicas(result("cpu")), Replicas(result("cuda:0"))
    routed, _ = await ask(monkeypatch, cpu, gpu, full_gpu(), lost=False)
    assert (routed.lane, routed.reroute_reason, gpu.calls) == ("cpu", "too full", [])


async def test_a_cancelled_caller_cancels_the_call_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = Replicas(result("cpu"), waits=True), Replicas(GpuUnavailable("no memory", gpu=GPU))
    asking = asyncio.ensure_future(ask(monkeypatch, cpu, gpu, full_gpu()))
    await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.sleep(0)
    assert cpu.cancelled == 1
