"""The common part of the three models as Serve deployments: collects and admits requests, answers, reports health.

A failure travels as a value: `run` returns the error that its caller is to see. Raising it would wrap it in one of
Ray's exceptions and log a traceback for every refused request.
"""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import psutil
from ray import serve

from deployments.lanes import open_lane
from deployments.live_config import LiveConfig
from deployments.nodes import this_node
from deployments.observability.logs import send_library_logs_to_serve
from deployments.observability.metrics import RaySink
from deployments.observability.sampler import Sampler
from deployments.open_lane import OpenLane
from deployments.samples import ReplicaSample
from deployments.vram.assigned import take_gpu
from deployments.vram.controller import GpuController
from deployments.vram.cpu_rest import CpuRest
from trivet.config import AppConfig, Lane, Task
from trivet.engine.engine import ResultFuture
from trivet.engine.scheduling.metrics import EngineMetrics
from trivet.errors import EngineError, GpuUnavailable, TrivetError
from trivet.gpu import GpuId
from trivet.messages import (
    DetokenizeRequest,
    DetokenizeResult,
    EngineRequest,
    EngineResult,
    Health,
    TokenizeRequest,
    TokenizeResult,
)

logger = logging.getLogger("ray.serve")

_COLLECTOR_STUCK_S = 10.0
"""If the collector has not taken a request after this long, Serve's batch loop is dead."""


@dataclass(slots=True, eq=False)
class _Call:
    """A request while it is collected. Serve admits collected requests even if their caller has left."""

    request: EngineRequest
    future: ResultFuture | None = None
    left: bool = False

    def admitted(self, future: ResultFuture | TrivetError) -> None:
        if isinstance(future, TrivetError):
            return
        self.future = future
        if self.left:
            future.cancel()

    def leave(self) -> None:
        self.left = True
        if self.future is not None:
            self.future.cancel()


class ModelReplica:
    """One model on one lane."""

    task: ClassVar[Task]

    async def __init__(self, config: AppConfig, lane: Lane, run_id: str) -> None:  # type: ignore[misc]
        """Open the engine and run a first forward; the replica exists only once that has worked.

        A GPU replica without room for its weights starts without them and loads them when there is room.
        """
        started_s = time.monotonic()
        send_library_logs_to_serve()
        self._config = config
        sink = RaySink()
        self._keeper: GpuController | None = None
        app_name = serve.get_replica_context().app_name
        gpu = await take_gpu(self.task, app_name, config, run_id) if lane == "gpu" else None
        self._lane = await asyncio.to_thread(self._open, config, lane, run_id, gpu)
        self._engine = self._lane.engine
        self._engine.scheduler.metrics = EngineMetrics(sink, model=self.task, lane=lane)
        self._engine.start()
        self._sampler = Sampler(ReplicaSample(sink, self._lane, self.task, lane))
        self._sampler.start()
        self._forward_limit_s = config.serving.forward_limit_s
        self._waiting_for_collector: dict[int, float] = {}
        self._gpu = GpuId(this_node(), self._lane.gpu_uuid) if self._lane.gpu is not None else None
        if self._lane.gpu is not None:
            self._keeper = GpuController(self._lane, self.task, app_name, config, run_id, sink)
            self._keeper.start()
        self._rest: CpuRest | None = None
        if self._lane.resting is not None:
            self._rest = CpuRest(self._lane.resting, self.task, app_name, config, run_id, sink)
            self._rest.start()
        await asyncio.to_thread(self._lane.warm_up, self.task)
        state = "ready" if self._engine.has_answered else "started without an answer"
        took_s = time.monotonic() - started_s
        logger.info("%s %s on %s after %.1f s", self._engine.card.name, state, self._engine.device, took_s)

    def _open(self, config: AppConfig, lane: Lane, run_id: str, gpu: str | None) -> OpenLane:
        """Open the engine of this lane without starting it; blocking."""
        return open_lane(config, self.task, lane, run_id, gpu)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply the deployment's `user_config`; Serve calls this at the start and whenever it changes.

        Raises:
            ValidationError: a key or a value that `LiveConfig` does not know; Serve keeps what was deployed before.
        """
        live = LiveConfig.model_validate(user_config)
        self._engine.scheduler.max_queued_tokens = live.max_queued_tokens or self._config.limits.max_queued_tokens
        self._forward_limit_s = live.forward_limit_s or self._config.serving.forward_limit_s
        logger.info("%s: limits are now %s", self.task, live)

    # `@serve.batch` only collects the requests that arrive together, for one tokenizer call. It never waits, and it
    # returns futures instead of results, so a fast request never waits for a slow one of its batch. The engine's
    # scheduler decides which sequences run together.
    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.0, max_concurrent_batches=1024)
    async def _collect(self, calls: list[_Call]) -> list[ResultFuture | TrivetError]:
        for call in calls:
            self._waiting_for_collector.pop(id(call), None)
        futures = await self._engine.admit([call.request for call in calls])
        for call, future in zip(calls, futures, strict=True):
            call.admitted(future)
        return futures

    async def run(self, request: EngineRequest, replicas: Sequence[str] = ()) -> EngineResult | TrivetError:
        """Answer one request, or return its error. `replicas` is for the router: the ids to choose from."""
        call = _Call(request)
        self._waiting_for_collector[id(call)] = time.monotonic()
        try:
            future = await self._collect(call)
        except asyncio.CancelledError:
            call.leave()
            raise
        finally:
            self._waiting_for_collector.pop(id(call), None)
        return await self._reply(future)

    async def run_all(
        self, requests: Sequence[EngineRequest], replicas: Sequence[str] = ()
    ) -> list[EngineResult | TrivetError]:
        """Answer several small requests that share a call; the error of one is in its place.

        They have been collected where they were sent.
        """
        futures = await self._engine.admit(requests)
        try:
            return [await self._reply(future) for future in futures]
        except asyncio.CancelledError:
            for future in futures:
                if isinstance(future, asyncio.Future):
                    future.cancel()
            raise

    async def _reply(self, admitted: ResultFuture | TrivetError) -> EngineResult | TrivetError:
        """Wait for a result. A bug that a request finds is its error, and does not fail those of the same call."""
        try:
            if isinstance(admitted, TrivetError):
                raise admitted
            return await admitted
        except GpuUnavailable as error:
            return GpuUnavailable(error.reason, gpu=self._gpu)
        except TrivetError as error:
            return error
        except Exception as error:
            logger.exception("a request failed")
            return EngineError(f"the request failed: {type(error).__name__}: {error}")

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Split texts into this model's tokens."""
        return await self._engine.tokenize(request)

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult | TrivetError:
        """Turn this model's token ids into texts; an error travels as a value."""
        try:
            return await self._engine.detokenize(request)
        except TrivetError as error:
            return error

    async def health(self) -> Health:
        """Report this replica's state and its model."""
        gpu = self._lane.gpu
        offloaded = gpu is not None and gpu.offloaded
        resting = self._lane.resting is not None and self._lane.resting.resting
        broken = self._engine.fault or self._engine.scheduler.failing or (self._rest.fault if self._rest else None)
        state = "rests until a GPU has no room" if resting else "answers"
        stuck = self._engine.scheduler.stuck
        if stuck is not None:
            state = stuck
        if gpu is not None and offloaded:
            state = gpu.unusable or "its weights are off the GPU"
        return Health(
            ready=self._engine.has_answered and not offloaded and broken is None and stuck is None,
            device=self._engine.device,
            detail=broken or state,
            failing=broken is not None,
            card=self._engine.card,
            pid=os.getpid(),
            rss_bytes=psutil.Process().memory_info().rss,
            waiting_tokens=self._engine.scheduler.waiting_tokens,
        )

    def check_health(self) -> None:
        """Raise an error if this replica is broken; Serve calls this every second, and replaces it after three."""
        if not self._engine.scheduler.is_alive:
            raise EngineError("the scheduler's loop has ended")
        if self._engine.fault is not None:
            raise EngineError(f"the device is lost to this process: {self._engine.fault}")
        if self._engine.scheduler.failing is not None:
            raise EngineError(self._engine.scheduler.failing)
        if self._rest is not None and self._rest.fault is not None:
            raise EngineError(self._rest.fault)
        forward_since_s = self._engine.scheduler.forward_started_s
        if forward_since_s is not None and time.monotonic() - forward_since_s > self._forward_limit_s:
            raise EngineError(f"a forward has been running for more than {self._forward_limit_s:g} s")
        oldest_s = min(self._waiting_for_collector.values(), default=None)
        if oldest_s is not None and time.monotonic() - oldest_s > _COLLECTOR_STUCK_S:
            raise EngineError("Serve's batch loop no longer takes requests")

    async def __del__(self) -> None:
        keeper: GpuController | None = getattr(self, "_keeper", None)  # absent where the constructor failed
        if keeper is not None:
            keeper.stop()
        rest: CpuRest | None = getattr(self, "_rest", None)
        if rest is not None:
            rest.stop()
        if hasattr(self, "_engine"):
            self._sampler.stop()
            await self._engine.close()
