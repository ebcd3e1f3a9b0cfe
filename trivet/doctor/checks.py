"""Checks a configuration against a machine: what will run on which device, and what to change. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trivet.config import AppConfig, Task
from trivet.doctor.machine import Machine
from trivet.units import format_bytes

Level = Literal["ok", "note", "problem"]

GIB = 1024**3
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
COMFORTABLE_MEMORY_BYTES = 4 * GIB
"""Memory of the starter models and Ray, with room for requests."""
OBJECT_STORE_BYTES = GIB // 2
FREE_DISK_BYTES = 4 * GIB
"""Disk space that the conversion of a large model needs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `advice` is empty if there is nothing to do."""

    level: Level
    subject: str
    text: str
    advice: str = ""


def examine(machine: Machine, config: AppConfig, padded: Mapping[Task, str] | None = None) -> list[Finding]:
    """Return all findings, the most important subjects first.

    Args:
        machine: as it was examined.
        config: of the service.
        padded: the models that a GPU computes on padded sequences, and why; see `trivet.doctor.models`.
    """
    return [
        _gpu(machine, config),
        *(_padded(task, reason) for task, reason in (padded or {}).items() if config.device != "cpu"),
        _precision(machine, config),
        _memory(machine),
        _shared_memory(machine),
        _ports(machine),
        _cache(machine),
    ]


def _gpu(machine: Machine, config: AppConfig) -> Finding:
    gpu = machine.gpu
    if config.device == "simulated":
        size = format_bytes(config.simulated.vram)
        return Finding("note", "GPU", f"simulated: a modelled GPU of {size}; forwards run on the CPU")
    if config.device == "cpu":
        return Finding("ok", "GPU", "not used (device: cpu)")
    if gpu.known:
        return Finding(
            "ok", "GPU", f"{gpu.device}: {format_bytes(gpu.free_bytes)} free of {format_bytes(gpu.total_bytes)}"
        )
    if config.device == "cuda":
        return Finding(
            "problem", "GPU", f"device is cuda, but no GPU can be read: {gpu.unknown_reason}", "set device: auto"
        )
    return Finding("note", "GPU", f"none ({gpu.unknown_reason}): all models run on the CPU")


def _padded(task: Task, reason: str) -> Finding:
    return Finding("note", f"GPU, {task}", f"computed on padded sequences, through transformers: {reason}")


def _precision(machine: Machine, config: AppConfig) -> Finding:
    native = sorted(machine.processor_flags & BF16_FLAGS)
    asked = config.cpu.precision
    cores = f"{machine.cores} cores"
    if asked in ("auto", "bf16") and native:
        return Finding("ok", "CPU lane", f"{cores}, bf16 in hardware ({', '.join(native)})")
    if asked == "bf16":
        return Finding(
            "problem", "CPU lane", f"{cores}, no bf16 in hardware: slower than fp32", "set cpu.precision: auto"
        )
    if asked == "auto":
        advice = "cpu.precision: int8 is several times faster here" if machine.processor_flags & INT8_FLAGS else ""
        return Finding("note", "CPU lane", f"{cores}, fp32: no bf16 in hardware", advice)
    return Finding("ok", "CPU lane", f"{cores}, {asked} as configured")


def _memory(machine: Machine) -> Finding:
    text = f"{format_bytes(machine.available_bytes)} available of {format_bytes(machine.memory_bytes)}"
    if machine.available_bytes < COMFORTABLE_MEMORY_BYTES:
        return Finding(
            "problem", "Memory", text, f"close other programs: {format_bytes(COMFORTABLE_MEMORY_BYTES)} are recommended"
        )
    return Finding("ok", "Memory", text)


def _shared_memory(machine: Machine) -> Finding:
    free = machine.shared_memory_free_bytes
    if free is None:
        return Finding("note", "/dev/shm", "missing: Ray keeps its object store on disk")
    if free < OBJECT_STORE_BYTES:
        needed = format_bytes(OBJECT_STORE_BYTES)
        advice = "run the container with --shm-size=1g"
        return Finding("problem", "/dev/shm", f"{format_bytes(free)} free, {needed} needed", advice)
    return Finding("ok", "/dev/shm", f"{format_bytes(free)} free")


def _ports(machine: Machine) -> Finding:
    if machine.ports_in_use:
        taken = ", ".join(map(str, machine.ports_in_use))
        return Finding("problem", "Ports", f"in use: {taken}", "stop that process, or change http_options.port")
    return Finding("ok", "Ports", "free")


def _cache(machine: Machine) -> Finding:
    free = format_bytes(machine.disk_free_bytes)
    text = f"{machine.cache_dir}: {format_bytes(machine.cache_bytes)}, {free} free on disk"
    if machine.disk_free_bytes < FREE_DISK_BYTES:
        needed = format_bytes(FREE_DISK_BYTES)
        advice = f"converting a large model needs {needed}: free some, or set serving.cache_dir to another disk"
        return Finding("problem", "Model cache", text, advice)
    if machine.cache_bytes == 0:
        return Finding("note", "Model cache", text, "run trivet prepare to fill it before the first start")
    return Finding("ok", "Model cache", text)
