"""Checks a configuration against a machine: what will run on which device, and what to change. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trivet.checkpoint.gpu_form import AMPERE, gpu_precision
from trivet.checkpoint.memory import ModelFacts
from trivet.config import TASKS, AppConfig, Task
from trivet.doctor.machine import Machine, RunningService
from trivet.doctor.memory import BF16_FLAGS, memory_need, precision_of
from trivet.units import GIB, format_bytes
from trivet.vram.planning.planner import Assumptions, needed

Level = Literal["ok", "note", "problem"]

INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
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


def examine(
    machine: Machine,
    config: AppConfig,
    padded: Mapping[Task, str] | None = None,
    facts: Mapping[Task, ModelFacts | None] | None = None,
    exceptions: Mapping[Task, Sequence[str]] | None = None,
    unservable: Mapping[Task, str] | None = None,
) -> list[Finding]:
    """Return all findings, the most important subjects first.

    Args:
        machine: as it was examined.
        config: of the service.
        padded: the models that a GPU computes on padded sequences, and why; see `trivet.doctor.models`.
        facts: the size of each model, None where it is not known; see `trivet.doctor.models`.
        exceptions: what the GPU does otherwise than usual for a model, and why; see `trivet.doctor.models`.
        unservable: the models that cannot be served, and why; see `trivet.doctor.models`.
    """
    known = facts or {}
    return [
        *([_service(machine.service)] if machine.service is not None else []),
        *(_unservable(task, reason) for task, reason in (unservable or {}).items()),
        _gpu(machine, config),
        *_gpu_room(machine, config, known),
        *(_padded(task, reason) for task, reason in (padded or {}).items() if config.device != "cpu"),
        *_gpu_exceptions(config, exceptions or {}),
        _precision(machine, config),
        _memory(machine, config, known),
        _shared_memory(machine),
        *(_ports(machine) if machine.service is None else []),
        _cache(machine),
    ]


def _gpu(machine: Machine, config: AppConfig) -> Finding:
    gpu = machine.gpu
    if config.device == "simulated":
        sizes = " and ".join(format_bytes(gpu.vram) for gpu in config.simulated.all_gpus())
        return Finding("note", "GPU", f"simulated: modelled, of {sizes}; forwards run on the CPU")
    if config.device == "cpu":
        return Finding("ok", "GPU", "not used (device: cpu)")
    if gpu.known and machine.cpu_torch is not None:
        level: Level = "problem" if config.device == "cuda" else "note"
        text = f"{gpu.device}, which the installed torch {machine.cpu_torch} cannot use: it is a build without CUDA"
        advice = "install a build of torch with CUDA (docs/installation.md), or set device: cpu"
        return Finding(level, "GPU", text, advice)
    if gpu.known:
        return Finding(
            "ok", "GPU", f"{gpu.device}: {format_bytes(gpu.free_bytes)} free of {format_bytes(gpu.total_bytes)}"
        )
    if config.device == "cuda":
        return Finding(
            "problem", "GPU", f"device is cuda, but no GPU can be read: {gpu.unknown_reason}", "set device: auto"
        )
    return Finding("note", "GPU", f"none ({gpu.unknown_reason}): all models run on the CPU")


def _service(service: RunningService) -> Finding:
    text = f"runs at {service.url} (process {service.pid}); its ports: {', '.join(ranges(service.ports))}"
    return Finding("ok", "Service", text)


def ranges(numbers: Collection[int]) -> list[str]:
    """Write numbers in ascending order, consecutive ones as `30000-30099`."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]


def _gpu_room(machine: Machine, config: AppConfig, facts: Mapping[Task, ModelFacts | None]) -> Iterator[Finding]:
    """Compare the models with the GPU, as far as their sizes are known. A running service is on the GPU already."""
    gpu = machine.gpu
    if not gpu.known or config.device not in ("auto", "cuda") or machine.service is not None:
        return
    level: Level = "problem" if config.device == "cuda" else "note"
    models = {task: known for task in TASKS if (known := facts.get(task)) is not None}
    # bf16 and fp16 take the same memory, and only a GPU without bf16 computes what fp16 cannot hold in fp32.
    asked = config.gpu.dtype if config.gpu.dtype == "fp32" else "auto"
    dtype = gpu_precision(asked, machine.gpu_capability or AMPERE, None).dtype
    assume = Assumptions() if machine.context_bytes is None else Assumptions.measured(machine.context_bytes)
    for task, known in models.items():
        cap_bytes = int(config.model_for(task).gpu_fraction * gpu.total_bytes)
        least_bytes = known.weights_bytes(known.gpu_dtype(dtype)) + assume.context_bytes + assume.workspace_bytes
        if cap_bytes < least_bytes:
            text = f"gpu_fraction is {format_bytes(cap_bytes)}; weights and context take {format_bytes(least_bytes)}"
            yield Finding("problem", f"GPU, {task}", text, f"raise {task}.gpu_fraction, or see `trivet plan`")
    if len(models) == len(TASKS):
        used_bytes = gpu.total_bytes - gpu.free_bytes
        distinct = [replace(known, name=task) for task, known in models.items()]
        needed_bytes = needed(distinct, dtype, replace(assume, external_bytes=used_bytes))
        if needed_bytes > gpu.total_bytes:
            text = (
                f"with the {format_bytes(used_bytes)} that other processes use now, the models need "
                f"{format_bytes(needed_bytes)}: what lacks room runs on the CPU"
            )
            yield Finding(level, "GPU, room", text, "`trivet plan` names models that fit")


def _unservable(task: Task, reason: str) -> Finding:
    return Finding(
        "problem", f"Model, {task}", f"it cannot be served: {reason}", f"complete it, or change {task}.model"
    )


def _padded(task: Task, reason: str) -> Finding:
    return Finding("note", f"GPU, {task}", f"computed on padded sequences, through transformers: {reason}")


def _gpu_exceptions(config: AppConfig, exceptions: Mapping[Task, Sequence[str]]) -> Iterator[Finding]:
    if config.device in ("auto", "cuda"):
        for task, notes in exceptions.items():
            yield from (Finding("note", f"GPU, {task}", note) for note in notes)


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


def _memory(machine: Machine, config: AppConfig, facts: Mapping[Task, ModelFacts | None]) -> Finding:
    text = f"{format_bytes(machine.available_bytes)} available of {format_bytes(machine.memory_bytes)}"
    if machine.service is not None:
        return Finding("ok", "Memory", text)
    with_gpu = machine.gpu.known and config.device in ("auto", "cuda")
    need = memory_need(config, facts, precision_of(config, machine.processor_flags), with_gpu=with_gpu)
    text += f"; {need}"
    replicas = config.cpu.replicas
    if replicas.scales:
        text += f" (CPU replicas of each model: {replicas}, {format_bytes(need.replica_bytes)} for each step)"
    shortage = need.shortage(machine.available_bytes)
    if shortage is None:
        return Finding("ok", "Memory", text)
    advice = "close other programs, choose smaller models (`trivet plan`), or set cpu.precision: int8"
    if replicas.max > 1:
        advice += ", or lower cpu.replicas"
    # With a GPU that has room, the CPU replicas rest: the shortage shows only when they are needed.
    return Finding("note" if shortage == "peak" and with_gpu else "problem", "Memory", text, advice)


def _shared_memory(machine: Machine) -> Finding:
    free = machine.shared_memory_free_bytes
    if free is None:
        return Finding("note", "/dev/shm", "missing: Ray keeps its object store on disk")
    if free < OBJECT_STORE_BYTES:
        needed = format_bytes(OBJECT_STORE_BYTES)
        advice = "run the container with --shm-size=1g"
        return Finding("problem", "/dev/shm", f"{format_bytes(free)} free, {needed} needed", advice)
    return Finding("ok", "/dev/shm", f"{format_bytes(free)} free")


def _ports(machine: Machine) -> Iterator[Finding]:
    taken = [use for use in machine.ports if use.holder is not None]
    for use in taken:
        text = f"{use.port} ({use.purpose}) is in use by {use.holder}"
        if use.is_fixed:
            yield Finding("problem", "Ports", text, "stop that process, or choose another port")
        else:
            yield Finding("note", "Ports", f"{text}: the service takes another one")
    if not taken:
        yield Finding("ok", "Ports", ", ".join(f"{use.port} ({use.purpose})" for use in machine.ports) + ": free")


def _cache(machine: Machine) -> Finding:
    if not machine.cache_is_writable:
        text = f"{machine.cache_dir} is no folder in which this user can write"
        return Finding("problem", "Model cache", text, "set serving.cache_dir to one")
    free = format_bytes(machine.disk_free_bytes)
    text = f"{machine.cache_dir}: {format_bytes(machine.cache_bytes)}, {free} free on disk"
    if machine.disk_free_bytes < FREE_DISK_BYTES:
        needed = format_bytes(FREE_DISK_BYTES)
        advice = f"converting a large model needs {needed}: free some, or set serving.cache_dir to another disk"
        return Finding("problem", "Model cache", text, advice)
    if machine.cache_bytes == 0:
        return Finding("note", "Model cache", text, "run trivet prepare to fill it before the first start")
    return Finding("ok", "Model cache", text)
