"""Finds a node's GPUs, and builds the probe of each."""

import os
import time
from typing import Protocol

from deployments.vram.simulated_gpu import StartingProbe, ledger_path, simulated_gpus, simulated_ledger
from trivet.config import AppConfig
from trivet.vram.assignment import visible_gpus
from trivet.vram.nvml import list_gpus
from trivet.vram.probe import NvmlProbe, Probe
from trivet.vram.registry import Registry

UNNAMED_GPU = "unknown"
"""Stands for the GPU of a node whose driver cannot list its GPUs: it is watched, and unreadable with a reason."""


class Gpus(Protocol):
    """The GPUs of a node."""

    def find(self) -> tuple[str, ...]:
        """Return the UUIDs of the GPUs that Trivet may use now. May block.

        Raises:
            GpuUnreadable: the driver cannot be asked.
        """
        ...

    def probe(self, gpu: str) -> Probe:
        """Return a new probe of one GPU, or of `UNNAMED_GPU`."""
        ...


class NvidiaGpus:
    """The GPUs that NVIDIA's driver lists, among them those that Ray's process on this node may use."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self) -> tuple[str, ...]:
        """See `Gpus`."""
        # An actor without a GPU of its own inherits the variable of the node's raylet.
        return visible_gpus(list_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))

    def probe(self, gpu: str) -> Probe:
        """See `Gpus`."""
        return NvmlProbe(self._registry, time.monotonic, device=0 if gpu == UNNAMED_GPU else gpu)


class SimulatedGpus:
    """The GPUs of `device: simulated`."""

    def __init__(self, config: AppConfig, registry: Registry, run_id: str) -> None:
        self._registry = registry
        self._names = simulated_gpus(config)
        self._run_id = run_id
        self._ledgers = {gpu: simulated_ledger(config, run_id, gpu) for gpu in self._names}

    def find(self) -> tuple[str, ...]:
        """See `Gpus`."""
        return self._names

    def probe(self, gpu: str) -> Probe:
        """See `Gpus`."""
        path = ledger_path(self._run_id, gpu)
        hangs = path.with_name(f"{path.name}.hangs")
        return StartingProbe(self._ledgers[gpu], self._registry, tuple(self._ledgers.values()), hangs)


def node_gpus(config: AppConfig, registry: Registry, run_id: str) -> Gpus:
    """Return the GPUs of this node."""
    return SimulatedGpus(config, registry, run_id) if config.device == "simulated" else NvidiaGpus(registry)
