"""Estimates the host memory of a service from its configuration. Pure; the constants are those of docs/memory.md."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from trivet.checkpoint.memory import ModelFacts
from trivet.config import TASKS, AppConfig, CpuPrecision, Task
from trivet.units import MIB, format_bytes

SERVICE_BYTES = 1400 * MIB
"""Ray, two ingress replicas and HAProxy."""
CPU_PROCESS_BYTES = 150 * MIB
"""Python, Ray's worker and OpenVINO in one model's process, without weights."""
GPU_PROCESS_BYTES = 1280 * MIB
"""A model's process on the GPU; its weights have no copy in host memory."""


BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags of processors that compute bf16 natively."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """An estimate, without the models whose size is not known."""

    rest_bytes: int
    """While nothing is computed. Beside a GPU with room, CPU replicas hold no weights."""
    peak_bytes: int
    """While all CPU replicas that may run compute: without a GPU always, with one while it has no room."""
    replica_bytes: int
    """What one more CPU replica of each model takes at its peak."""
    unknown: tuple[Task, ...]

    def shortage(self, available_bytes: int) -> Literal["rest", "peak"] | None:
        """Return what does not fit so much memory: even the service at rest, only its peak, or nothing."""
        if available_bytes < self.rest_bytes:
            return "rest"
        return "peak" if available_bytes < self.peak_bytes else None

    def __str__(self) -> str:
        text = f"the service takes about {format_bytes(self.rest_bytes)} at rest, {format_bytes(self.peak_bytes)}"
        text += " while all CPU replicas compute"
        if self.unknown:
            text += f", and the weights of the {', '.join(self.unknown)}, whose size is not known yet"
        return text


def memory_need(
    config: AppConfig, facts: Mapping[Task, ModelFacts | None], precision: CpuPrecision, *, with_gpu: bool
) -> MemoryNeed:
    """Estimate what the service takes on one machine that has all of its replicas.

    Args:
        config: of the service.
        facts: of each model; None where they are not known before it is fetched.
        precision: at which the CPU replicas compute.
        with_gpu: whether each model has a second process for the GPU. Beside a simulated one it has a second process
            that computes on the CPU, whatever this says.
    """
    rest_bytes = peak_bytes = SERVICE_BYTES
    replica_bytes = 0
    simulated = config.device == "simulated"
    rests = (with_gpu or simulated) and config.cpu.rest_after_s is not None
    for task in TASKS:
        known = facts.get(task)
        weights_bytes = activations_bytes = 0
        if known is not None:
            weights_bytes = known.cpu_bytes(precision, tokens=0)
            tokens = max(config.cpu.token_budget, known.max_tokens)
            activations_bytes = known.cpu_bytes(precision, tokens) - weights_bytes
        at_peak_bytes = CPU_PROCESS_BYTES + weights_bytes + activations_bytes
        at_rest_bytes = CPU_PROCESS_BYTES + (0 if rests else weights_bytes)
        beside_bytes = at_peak_bytes if simulated else GPU_PROCESS_BYTES if with_gpu else 0
        rest_bytes += config.cpu.replicas.min * at_rest_bytes + config.gpu.replicas * beside_bytes
        peak_bytes += config.cpu.replicas.max * at_peak_bytes + config.gpu.replicas * beside_bytes
        replica_bytes += at_peak_bytes
    return MemoryNeed(rest_bytes, peak_bytes, replica_bytes, tuple(task for task in TASKS if facts.get(task) is None))


def precision_of(config: AppConfig, processor_flags: Collection[str]) -> CpuPrecision:
    """Return the precision at which CPU replicas compute on a processor with these flags."""
    if config.cpu.precision != "auto":
        return config.cpu.precision
    return "bf16" if BF16_FLAGS & set(processor_flags) else "fp32"
