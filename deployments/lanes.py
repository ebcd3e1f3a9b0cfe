"""Maps lanes to this cluster: which lanes are bound, and which backend runs in each."""

import logging
import os

from deployments.nodes import gpu_nodes, this_node
from deployments.open_lane import OpenLane
from deployments.vram.own_memory import own_gpu_bytes
from deployments.vram.simulated_gpu import simulated_gpus, simulated_ledger
from trivet.config import AppConfig, Lane, Task
from trivet.engine.cuda.identity import current_gpu_uuid
from trivet.engine.open import (
    open_cpu_engine,
    open_cuda_backend,
    open_engine,
    open_resting_engine,
    prepare_model,
)
from trivet.errors import ConfigError
from trivet.simulation.open import open_simulated_backend

logger = logging.getLogger("ray.serve")


def bound_lanes(config: AppConfig, cluster_gpus: float, cpu_torch: str | None) -> tuple[Lane, ...]:
    """Return the lanes to bind, which always include the CPU lane.

    Args:
        config: of the application.
        cluster_gpus: how many Ray has found.
        cpu_torch: the version of the installed torch if it is a CPU build; see `trivet.gpu.torch_without_cuda`.

    Raises:
        ConfigError: `device: cuda` where no GPU can be used: Ray would wait for one, or start replicas again and again.
    """
    if cpu_torch is not None and cluster_gpus > 0 and config.device in ("auto", "cuda"):
        reason = f"the installed torch {cpu_torch} is a build without CUDA"
        if config.device == "cuda":
            raise ConfigError(f"device is cuda, but {reason}: install one with CUDA, or set device to auto or cpu")
        logger.warning("%s: all models run on the CPU, although there is a GPU", reason)
        return ("cpu",)
    if config.device == "cpu" or (config.device == "auto" and cluster_gpus == 0):
        return ("cpu",)
    if config.device == "cuda" and cluster_gpus == 0:
        raise ConfigError("device is cuda, but no node of this cluster has a GPU: set device to auto or cpu")
    return ("gpu", "cpu")


def may_rest(config: AppConfig) -> bool:
    """Return whether CPU replicas on this node may rest: there is a GPU beside them. Blocks while it asks Ray."""
    return config.cpu.rest_after_s is not None and config.device != "cpu" and this_node() in gpu_nodes(config)


def open_lane(config: AppConfig, task: Task, lane: Lane, run_id: str, gpu: str | None = None) -> OpenLane:
    """Open the engine of one model on one lane.

    Args:
        config: of the application.
        task: the model's.
        lane: the device.
        run_id: identifies the application's run.
        gpu: UUID of the GPU that the VRAM actor gave this process, on a node with several. None: the one that Ray gave.
    """
    if lane == "cpu" and may_rest(config):
        engine, resting = open_resting_engine(config, task)
        return OpenLane(engine, resting=resting)
    if lane == "cpu":
        return OpenLane(open_cpu_engine(config, task))
    prepared = prepare_model(config, task)
    if config.device == "simulated":
        uuid = gpu or simulated_gpus(config)[0]
        backend, precision = open_simulated_backend(config, prepared, simulated_ledger(config, run_id, uuid))
    else:
        if gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # CUDA reads it when it is first used, which is below
        backend, precision = open_cuda_backend(config, prepared, own_gpu_bytes)
        uuid = current_gpu_uuid()
    backend.reload()  # if there is no room yet, it starts without its weights, and the CPU replica serves
    return OpenLane(open_engine(config, prepared, backend, precision), backend, gpu_uuid=uuid)
