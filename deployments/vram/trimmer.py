"""Returns an idle GPU replica's unused memory to a GPU that is short of memory; `trivet.vram.trim` decides."""

import asyncio
import logging

from trivet.config import AppConfig, Task
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.metrics import TRIMS, MetricsSink
from trivet.units import format_bytes
from trivet.vram.trim import TrimConfig, returnable_bytes, trim_is_due
from trivet.vram.types import Observation

logger = logging.getLogger("ray.serve")


class Trimmer:
    """Trims one model's allocator."""

    def __init__(self, gpu: GpuLaneBackend, task: Task, config: AppConfig, sink: MetricsSink) -> None:
        self._gpu = gpu
        self._task = task
        self._sink = sink
        self._config = TrimConfig(short_below_bytes=config.vram.resume_above, idle_after_s=config.vram.trim_after_s)

    def can_return_bytes(self) -> int:
        """Return what the replica returns as soon as its GPU is short of memory."""
        return returnable_bytes(self._config, self._gpu.memory().returnable_bytes, self._gpu.idle_s)

    async def trim(self, observation: Observation) -> None:
        """Return the unused memory if the GPU's last reading asks for it."""
        if not trim_is_due(self._config, observation, self.can_return_bytes()):
            return
        returned_bytes = await asyncio.to_thread(self._gpu.trim)
        if returned_bytes > 0:
            self._sink.count(TRIMS, {"model": self._task})
            logger.info(
                "%s: is idle and returned %s of unused memory to %s, which had %s free",
                self._task,
                format_bytes(returned_bytes),
                observation.device,
                format_bytes(observation.free_bytes),
            )
