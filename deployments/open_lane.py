"""What one replica computes with: an engine and, on the GPU lane, the backend whose memory it reports."""

import logging
import time
from dataclasses import dataclass

from trivet.config import Task
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.engine import Engine
from trivet.engine.openvino.resting import RestingBackend
from trivet.errors import EngineError, GpuUnavailable
from trivet.vram.registry import ReplicaReport

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class OpenLane:
    """An engine, and its GPU backend on the GPU lane."""

    engine: Engine
    gpu: GpuLaneBackend | None = None
    resting: RestingBackend | None = None
    """The CPU backend, where it may rest; None on the GPU lane."""
    gpu_uuid: str = ""
    """UUID of the GPU that the GPU backend computes on; empty on the CPU lane."""

    def report(self, task: Task, pid: int, replica: str, returnable_bytes: int) -> ReplicaReport | None:
        """Build this process's report to the VRAM actor; None on the CPU lane."""
        if self.gpu is None:
            return None
        memory = self.gpu.memory()
        return ReplicaReport(
            model=task,
            pid=pid,
            gpu=self.gpu_uuid,
            replica=replica,
            at_s=time.monotonic(),
            held_bytes=memory.held_bytes,
            reusable_bytes=memory.reusable_bytes,
            returnable_bytes=returnable_bytes,
            weights_bytes=memory.weights_bytes,
            offloaded=self.gpu.offloaded,
            unusable=self.gpu.unusable,
            stuck=self.engine.scheduler.stuck,
        )

    def warm_up(self, task: Task) -> None:
        """Compute a first forward, blocking.

        If it cannot be computed on the GPU, or gives numbers that are not finite, this replica leaves the GPU for good,
        and the CPU answers. One that lacks memory only now stays as it is.

        Raises:
            EngineError: the CPU computes numbers that are not finite.
        """
        try:
            self.engine.warm_up()
        except GpuUnavailable as error:
            logger.warning("%s: its first forward on the GPU was refused: %s", task, error.reason)
        except (EngineError, RuntimeError) as error:
            if self.gpu is None:
                raise
            self.gpu.give_up(f"its first forward failed: {error}")
