"""The identity of a GPU in a cluster, how a process shares its memory, and whether the installed torch can use one."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

CONTEXT_BYTES: Final = 450 * 1024 * 1024
"""Memory that a CUDA process holds outside its allocator. An assumption: it varies with the driver, the GPU and the
loaded kernels (about 250 to 900 MiB), so it is a parameter wherever it is used. GPU replicas measure it."""


class GpuId(NamedTuple):
    """One GPU: the id of its node, and its UUID as the driver gives it (`GPU-…`, `MIG-…`; `simulated:0`)."""

    node: str
    uuid: str


def allocator_bytes(gpu_fraction: float, total_bytes: int, context_bytes: int = CONTEXT_BYTES) -> int:
    """Return what a process's allocator may take, so that the whole process keeps to its share of the GPU.

    Args:
        gpu_fraction: the share, as configured and as Ray reserves it.
        total_bytes: of the GPU.
        context_bytes: what the process holds outside its allocator.
    """
    return max(0, int(gpu_fraction * total_bytes) - context_bytes)


def torch_without_cuda() -> str | None:
    """Return the version of the installed torch if it is a CPU build, with which no GPU can be used; None if not."""
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return None
    return installed if installed.endswith("+cpu") else None
