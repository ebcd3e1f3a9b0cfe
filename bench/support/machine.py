"""Describes the machine of a measurement, and its CPU use by other processes in the meantime."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
_LIBRARIES = ("openvino", "torch", "transformers", "sentence-transformers", "numpy")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory and library versions, but no host or user names."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return {
        "processor": fields.get("model name", platform.processor()),
        "family_model": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds at one moment, of the whole machine and of one process."""

    machine_s: float
    process_s: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read both. Those of the process do not include its children."""
        times = psutil.cpu_times()
        busy_s = times.user + times.nice + times.system + times.softirq + times.irq
        own = psutil.Process(pid).cpu_times()
        return cls(busy_s, own.user + own.system)

    def since(self, earlier: "Usage", took_s: float) -> dict[str, float]:
        """Return the average number of cores that the process, and all other processes, used since `earlier`."""
        process_s = self.process_s - earlier.process_s
        others_s = max(0.0, self.machine_s - earlier.machine_s - process_s)
        return {
            "cpu_s": round(process_s, 2),
            "own_cores": round(process_s / took_s, 2),
            "other_cores": round(others_s / took_s, 2),
            "load_1min": round(os.getloadavg()[0], 1),
        }


def peak_rss_mib(pid: int) -> int:
    """Return the peak resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM, so the peak memory is unknown")
