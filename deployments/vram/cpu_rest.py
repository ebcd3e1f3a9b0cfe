"""Lets a CPU replica beside a GPU rest while it is not needed; `trivet.vram.resting` decides."""

import asyncio
import logging
import time

from deployments.nodes import this_node
from deployments.vram.feed import VramFeed
from trivet.config import AppConfig, Task
from trivet.engine.openvino.resting import RestingBackend
from trivet.errors import TrivetError
from trivet.metrics import CPU_RESTS, MetricsSink
from trivet.vram.resting import RestConfig, has_room_to_spare, next_step

logger = logging.getLogger("ray.serve")

_STEP_S = 0.5


class CpuRest:
    """Follows the decisions about the GPUs of this node, in a task on the replica's event loop."""

    def __init__(
        self,
        backend: RestingBackend,
        task: Task,
        app_name: str,
        config: AppConfig,
        run_id: str,
        sink: MetricsSink,
    ) -> None:
        self._backend = backend
        self._task = task
        self._feed = VramFeed(this_node(), app_name, config, run_id)
        self._sink = sink
        self._config = RestConfig(rest_after_s=config.cpu.rest_after_s, wake_below_bytes=config.vram.resume_above)
        self._grace_s = config.vram.grace_s
        self._opened_s = time.monotonic()
        self._loop_task: asyncio.Task[None] | None = None
        self.fault: str | None = None
        """Why the model could not be opened again, if so; the replica must be replaced then."""

    def start(self) -> None:
        """Start on the running event loop."""
        self._feed.start()
        self._loop_task = asyncio.get_running_loop().create_task(self._run(), name="cpu-rest")

    def stop(self) -> None:
        """Stop where it is: resting or awake."""
        self._feed.stop()
        if self._loop_task is not None:
            self._loop_task.cancel()

    async def _run(self) -> None:
        while self.fault is None:
            await self.step()
            await asyncio.sleep(_STEP_S)

    async def step(self) -> None:
        """Do what is due now."""
        now_s = time.monotonic()
        if not self._backend.resting:
            self._opened_s = now_s
        step = next_step(
            self._config,
            resting=self._backend.resting,
            room=has_room_to_spare(self._config, self._feed.latest.values(), self._task, now_s, self._grace_s),
            idle_s=self._backend.idle_s,
            unchecked_s=now_s - self._opened_s,
        )
        if step is None:
            return
        try:
            if step != "rest":
                await asyncio.to_thread(self._backend.wake)
                self._opened_s = time.monotonic()
            if step != "wake":
                await asyncio.to_thread(self._backend.rest)
        except (TrivetError, RuntimeError, OSError) as error:  # OpenVINO raises RuntimeError
            self.fault = f"its model cannot be opened again: {error}"
            logger.error("%s: %s", self._task, self.fault)
            return
        self._sink.count(CPU_RESTS, {"model": self._task, "step": step})
