"""A CPU replica beside a GPU rests, wakes when the GPU fills up, and reports a model that cannot be opened."""

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.vram import cpu_rest
from deployments.vram.cpu_rest import CpuRest
from tests.vram.test_resting import on_gpu
from trivet.config import AppConfig
from trivet.metrics import CPU_RESTS, Labels, Metric
from trivet.vram.types import Snapshot

GIB = 1024**3
CONFIG = AppConfig.model_validate({"cpu": {"rest_after_s": 60}})


class Backend:
    """One that has been idle for `idle_s`."""

    def __init__(self, idle_s: float) -> None:
        self.idle_s = idle_s
        self.resting = False
        self.error: Exception | None = None

    def wake(self) -> None:
        if self.error is not None:
            raise self.error
        self.resting = False

    def rest(self) -> None:
        self.resting = True


class Feed:
    def __init__(self) -> None:
        self.latest: dict[str, Snapshot] = {}


def made(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> tuple[CpuRest, Feed, list[tuple[Metric, Labels]]]:
    feed = Feed()
    counted: list[tuple[Metric, Labels]] = []
    monkeypatch.setattr(cpu_rest, "VramFeed", lambda *_: feed)
    monkeypatch.setattr(cpu_rest, "this_node", lambda: "node")
    sink: Any = SimpleNamespace(count=lambda metric, labels: counted.append((metric, labels)))
    given: Any = backend
    return CpuRest(given, "embedder", "trivet", CONFIG, "run", sink), feed, counted


def gpu(free_bytes: int) -> dict[str, Snapshot]:
    return {"GPU-a": on_gpu(free_bytes).received(time.monotonic())}


async def test_it_rests_while_the_gpu_has_room_and_wakes_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend(idle_s=61.0)
    rest, feed, counted = made(monkeypatch, backend)
    for free_bytes, resting in ((None, False), (4 * GIB, True), (4 * GIB, True), (GIB // 2, False), (4 * GIB, True)):
        feed.latest = gpu(free_bytes) if free_bytes is not None else {}
        await rest.step()
        assert backend.resting is resting, free_bytes
    steps = [labels["step"] for metric, labels in counted if metric is CPU_RESTS and labels["model"] == "embedder"]
    assert steps == ["rest", "wake", "rest"]


async def test_a_model_that_cannot_be_opened_again_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend(idle_s=61.0)
    rest, feed, _ = made(monkeypatch, backend)
    feed.latest = gpu(4 * GIB)
    await rest.step()
    backend.error = RuntimeError("openvino_model.bin is gone")
    feed.latest = gpu(0)
    await rest.step()
    assert rest.fault == "its model cannot be opened again: openvino_model.bin is gone"


async def test_from_time_to_time_it_opens_the_model_and_rests_again(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend(idle_s=61.0)
    rest, feed, counted = made(monkeypatch, backend)
    rest._config = replace(rest._config, check_every_s=0.0)
    feed.latest = gpu(4 * GIB)
    for _ in range(2):
        await rest.step()
        assert backend.resting
    assert [labels["step"] for _, labels in counted] == ["rest", "check"]
