"""Estimates the host memory of a service from its configuration. Pure; the constants are those of docs/memory.md."""

from collections.abc import Mapping
from dataclasses import dataclass

from trivet.checkpoint.memory import ModelFacts
from trivet.config import TASKS, AppConfig, CpuPrecision, Task
from trivet.units import MIB

SERVICE_BYTES = 1400 * MIB
"""Ray, two ingress replicas and HAProxy."""
CPU_PROCESS_BYTES = 150 * MIB
"""Python, Ray's worker and OpenVINO in one model's process, without weights."""
GPU_PROCESS_BYTES = 1280 * MIB
"""A model's process on the GPU; its weights have no copy in host memory."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """An estimate, without the models whose size is not known."""

    total_bytes: int
    unknown: tuple[Task, ...]


def memory_need(
    config: AppConfig,
    facts: Mapping[Task, ModelFacts | None],
    precision: CpuPrecision,
    *,
    with_gpu: bool,
) -> MemoryNeed:
    """Estimate what the service takes at its peak.

    Args:
        config: of the service.
        facts: of each model; None where they are not known before it is fetched.
        precision: at which the CPU replicas compute.
        with_gpu: whether each model has a second process for the GPU.
    """
    total_bytes = SERVICE_BYTES
    for task in TASKS:
        known = facts.get(task)
        process_bytes = CPU_PROCESS_BYTES
        if known is not None:
            tokens = max(config.cpu.token_budget, known.max_tokens)
            process_bytes += known.cpu_bytes(precision, tokens)
        total_bytes += config.cpu.replicas * process_bytes
        total_bytes += GPU_PROCESS_BYTES if with_gpu else 0
    return MemoryNeed(total_bytes, tuple(task for task in TASKS if facts.get(task) is None))
