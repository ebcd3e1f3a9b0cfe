"""Builds the probe of a node's GPU."""

import time

from deployments.vram.simulated_gpu import StartingProbe, ledger_path, simulated_ledger
from trivet.config import AppConfig
from trivet.vram.probe import NvmlProbe, Probe
from trivet.vram.registry import Registry


def build_probe(config: AppConfig, registry: Registry, run_id: str) -> Probe:
    """Return an NVML probe, or one of the simulated GPU with `device: simulated`."""
    if config.device == "simulated":
        path = ledger_path(run_id)
        return StartingProbe(simulated_ledger(config, run_id), hangs=path.with_name(f"{path.name}.hangs"))
    return NvmlProbe(registry, time.monotonic)
