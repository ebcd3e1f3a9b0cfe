"""Maps lanes to this cluster: which lanes are bound, and which backend runs in each."""

import time
from dataclasses import dataclass

from deployments.vram.simulated_gpu import simulated_ledger
from trivet.config import AppConfig, Lane, Task
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.engine import Engine
from trivet.engine.open import (
    open_cpu_engine,
    open_cuda_backend,
    open_engine,
    prepare_model,
)
from trivet.errors import ConfigError
from trivet.simulation.open import open_simulated_backend
from trivet.vram.registry import ReplicaReport


@dataclass(frozen=True, slots=True)
class OpenLane:
    """An engine, and its GPU backend on the GPU lane."""

    engine: Engine
    gpu: GpuLaneBackend | None = None

    def report(self, task: Task, pid: int) -> ReplicaReport | None:
        """Build this process's report to the VRAM actor; None on the CPU lane."""
        if self.gpu is None:
            return None
        memory = self.gpu.memory()
        return ReplicaReport(
            model=task,
            pid=pid,
            at_s=time.monotonic(),
            held_bytes=memory.held_bytes,
            reusable_bytes=memory.reusable_bytes,
            weights_bytes=memory.weights_bytes,
            offloaded=self.gpu.offloaded,
        )


def bound_lanes(config: AppConfig, cluster_gpus: float) -> tuple[Lane, ...]:
    """Return the lanes to bind, which always include the CPU lane.

    Raises:
        ConfigError: `device: cuda` on a cluster without a GPU, where Ray would wait for one indefinitely.
    """
    if config.device == "cpu" or (config.device == "auto" and cluster_gpus == 0):
        return ("cpu",)
    if config.device == "cuda" and cluster_gpus == 0:
        raise ConfigError("device is cuda, but no node of this cluster has a GPU: set device to auto or cpu")
    return ("gpu", "cpu")


def open_lane(config: AppConfig, task: Task, lane: Lane, run_id: str) -> OpenLane:
    """Open the engine of one model on one lane; `run_id` identifies the application's run."""
    if lane == "cpu":
        return OpenLane(open_cpu_engine(config, task))
    prepared = prepare_model(config, task)
    if config.device == "simulated":
        backend, precision = open_simulated_backend(config, prepared, simulated_ledger(config, run_id))
    else:
        backend, precision = open_cuda_backend(config, prepared)
    backend.reload()  # if there is no room yet, it starts without its weights, and the CPU replica serves
    return OpenLane(open_engine(config, prepared, backend, precision), backend)
