"""Examines this machine: processor, memory, GPU, ports and caches. `trivet.doctor.checks` evaluates the result."""

import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from trivet.vram.probe import NvmlProbe
from trivet.vram.registry import Registry
from trivet.vram.types import Observation

_CPUINFO = Path("/proc/cpuinfo")
_PROBE_TIMEOUT_S = 10.0
"""Longer than a service's timeout, since opening the driver for the first time can take seconds."""


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
    ports_in_use: tuple[int, ...]
    cache_dir: Path
    cache_bytes: int
    disk_free_bytes: int


def examine_machine(ports: tuple[int, ...], cache_dir: Path) -> Machine:
    """Read the state of this machine; takes up to 10 s if the GPU's driver hangs."""
    memory = psutil.virtual_memory()
    shared = Path("/dev/shm")
    existing = next(path for path in (cache_dir, *cache_dir.parents) if path.exists())
    return Machine(
        cores=len(psutil.Process().cpu_affinity()),
        processor_flags=processor_flags(_CPUINFO.read_text() if _CPUINFO.exists() else ""),
        memory_bytes=memory.total,
        available_bytes=memory.available,
        shared_memory_free_bytes=shutil.disk_usage(shared).free if shared.is_dir() else None,
        gpu=read_gpu(),
        ports_in_use=tuple(port for port in ports if _is_taken(port)),
        cache_dir=cache_dir,
        cache_bytes=sum(file.stat().st_size for file in cache_dir.rglob("*") if file.is_file()),
        disk_free_bytes=shutil.disk_usage(existing).free,
    )


def read_gpu() -> Observation:
    """Read this machine's first GPU; takes up to 10 s if its driver hangs."""
    return NvmlProbe(Registry(), time.monotonic, timeout_s=_PROBE_TIMEOUT_S).read()


def processor_flags(cpuinfo: str) -> frozenset[str]:
    """Parse the first `flags` line of /proc/cpuinfo; empty if there is none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _is_taken(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
