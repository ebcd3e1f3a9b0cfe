"""Reports that need no cluster: samples, reroutes by cause, and library logs in Serve's files."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from ray.serve.exceptions import DeploymentUnavailableError

from deployments.dispatcher import RayDispatcher
from deployments.observability.logs import library_logger, send_library_logs_to_serve, serve_logger
from deployments.observability.sampler import Sampler
from deployments.samples import IngressSample, ReplicaSample
from tests.support.memory_sink import MemorySink
from trivet.config import TASKS, AppConfig, Lane
from trivet.errors import GpuUnavailable
from trivet.gpu import GpuId
from trivet.messages import EmbedRequest, EmbedResult, StageTimings, Usage
from trivet.metrics import LANE_ON_GPU, OOM_SPLITS, REROUTES, RESIDENT, SNAPSHOT_AGE
from trivet.vram.types import Cause, Decision, Observation, Snapshot

A, B, C, D = GpuId("n", "a"), GpuId("m", "b"), GpuId("n", "c"), GpuId("m", "d")
ANSWER = EmbedResult(np.zeros((1, 2), dtype=np.float32), Usage(1, (1,), (False,), 1), StageTimings(), "somewhere")


@dataclass
class Feed:
    """A feed that does not change: the latest snapshot of every GPU."""

    latest: dict[GpuId, Snapshot | None]


class Handle:
    """A Serve handle whose replicas answer, or raise, what they are given, one after the other; the last one again."""

    app_name = "trivet"

    def __init__(self, *replies: object) -> None:
        self._replies = list(replies)
        self.run = self.run_all = self
        self.asked: list[tuple[str, ...]] = []
        """The replicas that each call named."""

    async def remote(self, request: object, replicas: tuple[str, ...] = ()) -> object:
        self.asked.append(replicas)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, DeploymentUnavailableError):
            raise reply
        return reply


def snapshot(lane: Lane, cause: Cause) -> Snapshot:
    decisions = {
        task: Decision(model=task, lane=lane, cause=cause, reason=f"because of {cause}", since_s=0, free_bytes=0)
        for task in TASKS
    }
    seen = Observation(at_s=0, device="a GPU")
    return Snapshot(version=1, at_s=float("inf"), device="a GPU", decisions=decisions, observation=seen)


def dispatcher(sink: MemorySink, gpu_reply: object, feed: Feed) -> RayDispatcher:
    handles: Any = {
        task: {"gpu": gpu_reply if isinstance(gpu_reply, Handle) else Handle(gpu_reply), "cpu": Handle(ANSWER)}
        for task in TASKS
    }
    return RayDispatcher(handles, feed, AppConfig.model_validate({"serving": {"retry_s": 0.1}}), sink)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lane", "cause", "gpu_reply", "counted"),
    [
        ("gpu", "room", ANSWER, None),
        ("cpu", "low_memory", ANSWER, "low_memory"),
        ("cpu", "offloaded", ANSWER, "offloaded"),
        ("gpu", "room", GpuUnavailable("full"), "gpu_refused"),
    ],
)
async def test_reroutes_are_counted_by_their_cause(
    lane: Lane, cause: Cause, gpu_reply: object, counted: str | None
) -> None:
    sink = MemorySink()
    routed = await dispatcher(sink, gpu_reply, Feed({A: snapshot(lane, cause)})).call(EmbedRequest(("a",)))
    assert routed.lane == ("gpu" if counted is None else "cpu")
    assert sink.touched() == (set() if counted is None else {REROUTES.name})
    assert sink.value(REROUTES, model="embedder", cause=counted or "none") == (0 if counted is None else 1)


@pytest.mark.slow
async def test_a_lost_gpu_replica_is_a_cause_of_its_own() -> None:
    sink = MemorySink()
    lost = DeploymentUnavailableError.__new__(DeploymentUnavailableError)
    await dispatcher(sink, lost, Feed({A: snapshot("gpu", "room")})).call(EmbedRequest(("a",)))
    assert sink.value(REROUTES, model="embedder", cause="gpu_lost") == 1


async def test_a_gpu_that_refuses_hands_over_to_the_next_and_the_last_to_the_cpu() -> None:
    a, b, c = (replace(snapshot("gpu", "room"), replicas={"embedder": (name,)}) for name in "abc")
    handle = Handle(GpuUnavailable("a is full", gpu=A), GpuUnavailable("c is full", gpu=C), ANSWER)
    sink = MemorySink()
    asking = dispatcher(sink, handle, Feed({A: a, B: b, C: c, D: snapshot("cpu", "low_memory")}))
    routed = await asking.call(EmbedRequest(("a",)))
    assert (routed.lane, routed.reroute_reason) == ("gpu", None)
    assert handle.asked == [("a", "b", "c"), ("c",), ("b",)], "the other GPU of its node comes before another node"
    assert sink.touched() == set()

    full = Handle(GpuUnavailable("b is full", gpu=B), GpuUnavailable("a is full", gpu=A))
    routed = await dispatcher(sink, full, Feed({A: a, B: b})).call(EmbedRequest(("a",)))
    assert (routed.lane, routed.reroute_reason) == ("cpu", "b is full; a is full")
    assert full.asked == [("a", "b"), ("a",)]
    assert sink.value(REROUTES, model="embedder", cause="gpu_refused") == 1


async def test_a_refusal_from_an_unnamed_gpu_is_not_repeated() -> None:
    elsewhere = Handle(GpuUnavailable("full", gpu=GpuId("z", "GPU-z")))
    routed = await dispatcher(MemorySink(), elsewhere, Feed({A: snapshot("gpu", "room")})).call(EmbedRequest(("a",)))
    assert routed.lane == "cpu"
    assert len(elsewhere.asked) == 1


def test_the_ingress_reports_its_lanes_and_the_age_of_its_snapshot() -> None:
    sink = MemorySink()
    IngressSample(sink, dispatcher(sink, ANSWER, Feed({A: snapshot("gpu", "room")})))()
    assert sink.value(LANE_ON_GPU, model="reranker") == 1
    assert sink.value(RESIDENT, process="ingress") > 1024**2
    IngressSample(sink, dispatcher(sink, ANSWER, Feed({A: None})))()
    assert sink.value(LANE_ON_GPU, model="reranker") == 0
    assert 0 <= sink.value(SNAPSHOT_AGE) < 60  # since the start, as long as no news has come


@dataclass
class Scheduler:
    reports: int = 0

    def report_queue(self) -> None:
        self.reports += 1


@dataclass
class Gpu:
    oom_splits: int = 0


@dataclass
class Engine:
    scheduler: Scheduler


@dataclass
class OpenLane:
    engine: Engine
    gpu: Gpu | None


def test_splits_are_counted_once_each() -> None:
    sink = MemorySink()
    lane = OpenLane(Engine(Scheduler()), Gpu())
    sample = ReplicaSample(sink, lane, "embedder", "gpu")  # type: ignore[arg-type]
    counts = []
    for splits in (0, 2, 2, 5):
        lane.gpu = Gpu(splits)
        sample()
        counts.append(sink.value(OOM_SPLITS, model="embedder"))
    assert counts == [0, 2, 2, 5]
    assert lane.engine.scheduler.reports == 4
    assert sink.value(RESIDENT, process="embedder") > 0


async def test_sampling_goes_on_after_a_sample_that_failed_until_it_is_stopped() -> None:
    taken = 0
    third = asyncio.Event()

    def sample() -> None:
        nonlocal taken
        taken += 1
        if taken == 1:
            raise RuntimeError("not today")
        if taken == 3:
            sampling.stop()
            third.set()

    sampling = Sampler(sample, every_s=0)
    sampling.start()
    async with asyncio.timeout(10):
        await third.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert taken == 3


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def serves_file() -> Iterator[Kept]:
    """Stands where Serve's file handler would, and leaves no trace."""
    kept = Kept()
    level = serve_logger.level
    serve_logger.addHandler(kept)
    serve_logger.setLevel(logging.INFO)
    yield kept
    serve_logger.removeHandler(kept)
    serve_logger.setLevel(level)
    library_logger.handlers.clear()
    library_logger.setLevel(logging.NOTSET)
    library_logger.propagate = True


def test_lines_of_the_library_reach_serves_handlers_once_and_by_its_level(serves_file: Kept) -> None:
    send_library_logs_to_serve()
    send_library_logs_to_serve()
    logging.getLogger("trivet.requests").info("logged", extra={"http_route": "/v1/rerank"})
    logging.getLogger("trivet.vram.monitor").debug("not logged")
    [record] = serves_file.records
    assert (record.getMessage(), vars(record)["http_route"]) == ("logged", "/v1/rerank")
