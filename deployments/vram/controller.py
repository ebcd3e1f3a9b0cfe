"""Applies the VRAM decisions to one GPU replica: moves its weights, returns unused memory, and reports its memory."""

import asyncio
import logging
import os
import time

from ray import serve
from ray.exceptions import RayError

from deployments.nodes import this_node
from deployments.open_lane import OpenLane
from deployments.vram.actor import vram_actor
from deployments.vram.feed import VramFeed
from deployments.vram.own_memory import keep_measured_context
from deployments.vram.trimmer import Trimmer
from trivet.config import AppConfig, Task
from trivet.metrics import OFFLOADS, MetricsSink
from trivet.paths import cache_dir
from trivet.vram.types import Snapshot

logger = logging.getLogger("ray.serve")

_STEP_S = 0.5
_MEASURE_EVERY_S = 60.0


class GpuController:
    """Follows the decisions about one GPU replica, in a task on the replica's event loop."""

    def __init__(
        self, lane: OpenLane, task: Task, app_name: str, config: AppConfig, run_id: str, sink: MetricsSink
    ) -> None:
        assert lane.gpu is not None
        self._lane = lane
        self._gpu = lane.gpu
        self._task = task
        self._sink = sink
        self._trimmer = Trimmer(lane.gpu, task, config, sink)
        self._cache = cache_dir(config.serving.cache_dir)
        self._measured_s = float("-inf")
        self._actor_args = (this_node(), app_name, config, run_id)
        self._replica = serve.get_replica_context().replica_tag
        self._feed = VramFeed(*self._actor_args)
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        """Start applying decisions and reporting, on the running event loop."""
        self._feed.start()
        loop = asyncio.get_running_loop()
        # Reports go on while weights move or the driver hangs: without them a replica counts as stuck.
        self._tasks = (
            loop.create_task(self._run(), name="gpu-controller"),
            loop.create_task(self._report_regularly(), name="gpu-reports"),
        )

    def stop(self) -> None:
        """Stop applying decisions and reporting."""
        self._feed.stop()
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> None:
        while True:
            snapshot = self._feed.latest.get(self._lane.gpu_uuid)
            if snapshot is not None:
                await self._apply_decision(snapshot)
                await self._trimmer.trim(snapshot.observation)
            await self._measure_context()
            await asyncio.sleep(_STEP_S)

    async def _report_regularly(self) -> None:
        while True:
            try:
                await self._report()
            except Exception:
                # Without reports the model would stay away from the GPU for good.
                logger.exception("%s: a report to the VRAM actor failed", self._task)
            await asyncio.sleep(_STEP_S)

    async def _apply_decision(self, snapshot: Snapshot) -> None:
        decision = snapshot.decisions.get(self._task)
        if decision is None or decision.offloaded == self._gpu.offloaded:
            return
        if decision.offloaded:
            await asyncio.to_thread(self._gpu.offload)
            self._sink.count(OFFLOADS, {"model": self._task, "step": "offload"})
        elif await asyncio.to_thread(self._gpu.reload):
            self._sink.count(OFFLOADS, {"model": self._task, "step": "reload"})
            await asyncio.to_thread(self._lane.warm_up, self._task)

    async def _measure_context(self) -> None:
        """Measure what lies outside the allocator, which grows as kernels are used for the first time; keep it."""
        if self._gpu.offloaded or time.monotonic() - self._measured_s < _MEASURE_EVERY_S:
            return
        self._measured_s = time.monotonic()
        context_bytes = await asyncio.to_thread(self._gpu.measure_context)
        await asyncio.to_thread(keep_measured_context, self._cache, self._lane.gpu_uuid, context_bytes)

    async def _report(self) -> None:
        report = self._lane.report(self._task, os.getpid(), self._replica, self._trimmer.can_return_bytes())
        assert report is not None
        try:
            actor = await asyncio.to_thread(vram_actor, *self._actor_args)
            await actor.report.remote(report)
        except RayError as error:
            # The feed logs when the actor is lost and when it is back; a single lost report is not worth a warning.
            logger.debug("report to the VRAM actor failed: %s", error)
