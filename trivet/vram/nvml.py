"""The only file that calls NVML: opens a device and reads it once. Blocking; raises `GpuUnreadable`.

The module `pynvml` comes from the distribution nvidia-ml-py. (The distribution named pynvml is a deprecated wrapper
around it.) Deadlines, retries and logging are in `trivet.vram.probe`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pynvml

from trivet.checkpoint.gpu_form import Capability
from trivet.vram.attribution import GpuReading


class GpuUnreadable(Exception):
    """The GPU could not be read. `reason` is human-readable; `lost` asks for a new session with the driver."""

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lost = lost


# After these errors the session or the handle is unusable and NVML must be initialised again. (Driver reloads and many
# container runtimes answer with 999 "unknown".)
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

# A driver or a GPU may lack a process list without being broken.
_ABSENT = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})


class NvmlSession:
    """One device, opened. `device` is an NVML index, a "GPU-…" UUID or a "MIG-…" UUID.

    Indices follow the PCI bus, which CUDA's numbering need not do: on a node with several GPUs use the UUID.
    The index or UUID of a GPU that is partitioned with MIG stands for its only instance. With several instances it is
    refused, because the parent's totals describe none of them.
    """

    def __init__(self, device: int | str) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise GpuUnreadable(f"NVML: {error}", lost=True) from error
        try:
            self._handle = _open(device)
            self._uuid = str(pynvml.nvmlDeviceGetUUID(self._handle))
            self._name = str(pynvml.nvmlDeviceGetName(self._handle))
            self.label = f"{device}: {self._name}"
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
            uuid=self._uuid,
            total_bytes=memory.total,
            free_bytes=memory.free,
            reserved_bytes=getattr(memory, "reserved", 0),  # only the second version of the struct has it
            processes=processes,
            list_error=list_error,
        )

    def compute_capability(self) -> Capability:
        """Return the device's compute capability, or raise `GpuUnreadable`."""
        try:
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(self._handle)
        except pynvml.NVMLError as error:
            raise GpuUnreadable(f"NVML: compute capability: {error}", lost=error.value in _SESSION_LOST) from error
        return int(major), int(minor)

    def driver_and_gpu(self) -> str:
        """Return the device's name and its driver's version, or raise `GpuUnreadable`."""
        try:
            return f"{self._name}, driver {pynvml.nvmlSystemGetDriverVersion()}"
        except pynvml.NVMLError as error:
            raise GpuUnreadable(f"NVML: driver version: {error}", lost=error.value in _SESSION_LOST) from error

    def close(self) -> None:
        """End the session; does nothing if the driver is gone, which has already ended it."""
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            if error.value not in _SESSION_LOST:
                raise GpuUnreadable(f"NVML: shutdown: {error}", lost=True) from error


def list_gpus() -> tuple[tuple[str, ...], ...]:
    """Return per GPU, in the driver's order, its UUID, or the UUIDs of its MIG instances; nothing for a lost one.

    Raises:
        GpuUnreadable: the driver cannot be asked.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise GpuUnreadable(f"NVML: {error}", lost=True) from error
    try:
        return tuple(_uuids_at(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        raise GpuUnreadable(f"NVML: list of GPUs: {error}", lost=True) from error
    finally:
        pynvml.nvmlShutdown()


def process_bytes(device: int | str, pid: int) -> int | None:
    """Return what a process holds of a GPU; None if the driver does not list it or gives no figure.

    Raises:
        GpuUnreadable: the driver cannot be asked.
    """
    session = NvmlSession(device)
    try:
        return dict(session.read().processes).get(pid)
    finally:
        session.close()


def driver_and_gpu(device: int | str = 0) -> str:
    """Return the names of a GPU and of its driver's version: what the size of a CUDA context depends on.

    Raises:
        GpuUnreadable: the driver cannot be asked.
    """
    session = NvmlSession(device)
    try:
        return session.driver_and_gpu()
    finally:
        session.close()


def compute_capability(device: int | str = 0) -> Capability:
    """Return the compute capability of a GPU.

    Raises:
        GpuUnreadable: the driver cannot be asked, or does not know.
    """
    session = NvmlSession(device)
    try:
        return session.compute_capability()
    finally:
        session.close()


def _uuids_at(index: int) -> tuple[str, ...]:
    try:
        gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
        handles = list(_mig_instances(gpu)) if _mig_enabled(gpu) else [gpu]
        return tuple(str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles)
    except pynvml.NVMLError as error:
        if error.value in _SESSION_LOST:
            return ()  # one lost GPU must not hide the others; it is listed again when it is back
        raise


def _open(device: int | str) -> Any:
    if isinstance(device, str):
        gpu = pynvml.nvmlDeviceGetHandleByUUID(device)
        if device.startswith("MIG-"):
            return gpu
    else:
        gpu = pynvml.nvmlDeviceGetHandleByIndex(device)
    if not _mig_enabled(gpu):
        return gpu
    instances = list(_mig_instances(gpu))
    if len(instances) != 1:
        raise GpuUnreadable(
            f"NVML: device {device} is partitioned into {len(instances)} MIG instances; name one by its MIG- UUID",
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
    """Return (pid, bytes) of every process on any list, and the first error of a list that should exist."""
    lists: tuple[Callable[[Any], Any], ...] = (
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
        pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3,
    )
    used: dict[int, int | None] = {}
    first_error: str | None = None
    for position, list_processes in enumerate(lists):
        try:
            found = list_processes(handle)
        except pynvml.NVMLError as error:
            optional = position > 0 and error.value in _ABSENT  # headless GPUs lack graphics, old drivers MPS
            if first_error is None and not optional:
                first_error = str(error)
            continue
        for process in found:
            # A process that computes and renders is on two lists, each with all of its memory.
            known = used.get(process.pid)
            new = process.usedGpuMemory
            used[process.pid] = new if known is None else max(known, new or 0)
    return tuple(sorted(used.items())), first_error
