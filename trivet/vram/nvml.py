"""The only file that speaks NVML: opens a device and reads it once. Blocking; raises `GpuUnreadable`.

`pynvml` is the module of the distribution nvidia-ml-py. (The distribution that is itself named pynvml is a deprecated
wrapper around it.) Deadlines, retries and logging are the probe's: see `trivet.vram.probe`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pynvml

from trivet.vram.attribution import GpuReading


class GpuUnreadable(Exception):
    """The GPU could not be read; `reason` is for people, `lost` asks for a new session with the driver."""

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lost = lost


# After these the session or the handle is worth nothing: initialise again. (999 "unknown" is what a driver reload and
# many container runtimes answer with.)
_SESSION_LOST = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_NOT_FOUND,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_UNKNOWN,
    }
)

# Lists a driver or a GPU may lack without anything being wrong.
_ABSENT = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})


class NvmlSession:
    """One device, opened. `device` is an NVML index, a "GPU-…" UUID or a "MIG-…" UUID.

    An index follows the PCI bus, which CUDA's numbering need not: where a node has several GPUs, name the UUID.
    An index whose GPU is cut into MIG instances means its only instance; with several it is refused, since the
    parent's totals describe none of them.
    """

    def __init__(self, device: int | str) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise GpuUnreadable(f"NVML: {error}", lost=True) from error
        try:
            self._handle = _open(device)
            self.label = f"{device}: {pynvml.nvmlDeviceGetName(self._handle)}"
        except pynvml.NVMLError as error:
            self.close()
            raise GpuUnreadable(f"NVML: device {device}: {error}", lost=True) from error
        except GpuUnreadable:
            self.close()
            raise

    def read(self) -> GpuReading:
        """Return the totals and the processes of the device, or raise `GpuUnreadable`."""
        try:
            memory = _memory(self._handle)
        except pynvml.NVMLError as error:
            raise GpuUnreadable(f"NVML: memory: {error}", lost=error.value in _SESSION_LOST) from error
        processes, list_error = _processes(self._handle)
        return GpuReading(
            device=self.label,
            total_bytes=memory.total,
            free_bytes=memory.free,
            reserved_bytes=getattr(memory, "reserved", 0),  # only the second version of the struct has it
            processes=processes,
            list_error=list_error,
        )

    def close(self) -> None:
        """End the session; a driver that is gone already has ended it for us."""
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            if error.value not in _SESSION_LOST:
                raise GpuUnreadable(f"NVML: shutdown: {error}", lost=True) from error


def _open(device: int | str) -> Any:
    if isinstance(device, str):
        return pynvml.nvmlDeviceGetHandleByUUID(device)
    gpu = pynvml.nvmlDeviceGetHandleByIndex(device)
    if not _mig_enabled(gpu):
        return gpu
    instances = list(_mig_instances(gpu))
    if len(instances) != 1:
        raise GpuUnreadable(
            f"NVML: device {device} is cut into {len(instances)} MIG instances; name one by its MIG- UUID",
            lost=True,
        )
    return instances[0]


def _mig_enabled(gpu: Any) -> bool:
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(gpu)
    except pynvml.NVMLError as error:
        if error.value in _ABSENT:
            return False
        raise
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _mig_instances(gpu: Any) -> Iterable[Any]:
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_FOUND:  # an empty slot
                raise


def _memory(handle: Any) -> Any:
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in (
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        ):
            raise
    return pynvml.nvmlDeviceGetMemoryInfo(handle)  # drivers before 510


def _processes(handle: Any) -> tuple[tuple[tuple[int, int | None], ...], str | None]:
    """Return (pid, bytes) of every process any list names, and the first complaint of a list that should exist."""
    lists: tuple[Callable[[Any], Any], ...] = (
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
        pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3,
    )
    used: dict[int, int | None] = {}
    complaint: str | None = None
    for position, list_processes in enumerate(lists):
        try:
            found = list_processes(handle)
        except pynvml.NVMLError as error:
            optional = position > 0 and error.value in _ABSENT  # headless GPUs lack graphics, old drivers MPS
            if complaint is None and not optional:
                complaint = str(error)
            continue
        for process in found:
            # A process that computes and draws is on two lists, each with its whole use.
            known = used.get(process.pid)
            new = process.usedGpuMemory
            used[process.pid] = new if known is None else max(known, new or 0)
    return tuple(sorted(used.items())), complaint
