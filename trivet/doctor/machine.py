"""Examines this machine: processor, memory, GPU, ports and caches. `trivet.doctor.checks` evaluates the result."""

import os
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from trivet.checkpoint.gpu_form import Capability
from trivet.gpu import torch_without_cuda
from trivet.vram.contexts import kept_context
from trivet.vram.deadline import CallTimedOut, DeadlineThread
from trivet.vram.nvml import GpuUnreadable, compute_capability, driver_and_gpu
from trivet.vram.probe import NvmlProbe
from trivet.vram.registry import Registry
from trivet.vram.types import Observation

_CPUINFO = Path("/proc/cpuinfo")
_PROBE_TIMEOUT_S = 10.0
"""Longer than a service's timeout, since opening the driver for the first time can take seconds."""


@dataclass(frozen=True, slots=True)
class PortUse:
    """One port that a service would open."""

    port: int
    purpose: str
    is_fixed: bool = False
    """Whether the service needs this port; otherwise it takes another one where this one is in use."""
    holder: str | None = None
    """The process that has it now, as far as it can be seen; None if it is free."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service of this user that runs already."""

    url: str
    pid: int
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of a machine at one moment."""

    cores: int
    processor_flags: frozenset[str]
    memory_bytes: int
    available_bytes: int
    shared_memory_free_bytes: int | None
    """Free space of /dev/shm, where Ray keeps its object store; None if it does not exist."""
    gpu: Observation
    ports: tuple[PortUse, ...]
    cache_dir: Path
    cache_bytes: int
    disk_free_bytes: int
    cache_is_writable: bool = True
    """Whether it is a folder in which this user can write, or can be made as one."""
    service: RunningService | None = None
    """The service on the configured port, if it runs."""
    gpu_capability: Capability | None = None
    """Of the GPU; None if there is none, or its driver does not say."""
    context_bytes: int | None = None
    """What a GPU replica was measured to hold of this GPU outside its allocator; None if none has run here."""
    cpu_torch: str | None = None
    """The version of the installed torch if it is a build without CUDA."""


def examine_machine(ports: Sequence[PortUse], cache_dir: Path, service: RunningService | None = None) -> Machine:
    """Read the state of this machine; takes up to 10 s if the GPU's driver hangs.

    `ports` are those that the configured service would open; their `holder` is filled in.
    """
    memory = psutil.virtual_memory()
    shared = Path("/dev/shm")
    gpu = read_gpu()
    existing = next(path for path in (cache_dir, *cache_dir.absolute().parents) if os.path.exists(path))
    return Machine(
        cores=len(psutil.Process().cpu_affinity()),
        processor_flags=this_processors_flags(),
        memory_bytes=memory.total,
        available_bytes=memory.available,
        shared_memory_free_bytes=shutil.disk_usage(shared).free if shared.is_dir() else None,
        gpu=gpu,
        gpu_capability=read_capability() if gpu.known else None,
        context_bytes=read_context(cache_dir) if gpu.known else None,
        cpu_torch=torch_without_cuda(),
        ports=tuple(replace(use, holder=_holder(use.port)) for use in ports),
        cache_dir=cache_dir,
        cache_bytes=_size_bytes(cache_dir),
        cache_is_writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        disk_free_bytes=shutil.disk_usage(existing).free,
        service=service,
    )


def _size_bytes(folder: Path) -> int:
    """Return the size of the files below a folder that can be seen; a service may remove one meanwhile."""
    total_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total_bytes += os.stat(os.path.join(parent, name)).st_size
    return total_bytes


def read_gpu() -> Observation:
    """Read this machine's first GPU; takes up to 10 s if its driver hangs."""
    return NvmlProbe(Registry(), time.monotonic, timeout_s=_PROBE_TIMEOUT_S).read()


def read_capability() -> Capability | None:
    """Read the compute capability of this machine's first GPU; None if the driver does not tell it within 10 s."""
    try:
        return DeadlineThread[Capability]("gpu-capability").call(compute_capability, timeout_s=_PROBE_TIMEOUT_S)
    except (GpuUnreadable, CallTimedOut):
        return None


def read_context(cache: Path) -> int | None:
    """Return what was measured on this machine's first GPU; see `trivet.vram.contexts`. None if nothing was."""
    try:
        named = DeadlineThread[str]("gpu-name").call(driver_and_gpu, timeout_s=_PROBE_TIMEOUT_S)
    except (GpuUnreadable, CallTimedOut):
        return None
    return kept_context(cache, named)


def this_processors_flags() -> frozenset[str]:
    """Return the flags of this machine's processor; none where the system does not list them."""
    return processor_flags(_CPUINFO.read_text(encoding="utf-8") if _CPUINFO.exists() else "")


def processor_flags(cpuinfo: str) -> frozenset[str]:
    """Parse the first `flags` line of /proc/cpuinfo; empty if there is none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _holder(port: int) -> str | None:
    """Return which process listens on a port of this machine; None if the port is free."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except PermissionError:
            return "the system, which keeps it for its administrator"
        except OSError:
            return _listener(port)
    return None


def _listener(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,) and connection.pid:
            with suppress(psutil.Error):
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    return "a process of another user"
