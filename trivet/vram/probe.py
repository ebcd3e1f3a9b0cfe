"""Reads the GPU and always returns an `Observation`, which states the reason if the GPU could not be read.

`NvmlProbe` makes the driver calls of `trivet.vram.nvml` safe: they run on a dedicated thread with a deadline, a lost
session is reopened, and each change between readable and unreadable is logged once. The session is opened by the first
read, so constructing a probe touches no driver. `trivet.vram.policy` makes the decisions.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from trivet.gpu import CONTEXT_BYTES
from trivet.units import format_seconds
from trivet.vram.attribution import GpuReading, attribute
from trivet.vram.deadline import CallTimedOut, DeadlineThread, StillHanging
from trivet.vram.nvml import GpuUnreadable, NvmlSession
from trivet.vram.registry import Registry
from trivet.vram.types import Observation

log = logging.getLogger(__name__)


class Probe(Protocol):
    """Reads a GPU."""

    def read(self) -> Observation:
        """Return the GPU's state now. Never raises, and returns within the probe's own deadline."""
        ...


class NvmlProbe:
    """Reads one NVIDIA device.

    Args:
        registry: the reports of our replicas.
        clock: monotonic seconds.
        device: NVML index or UUID; see `NvmlSession`.
        timeout_s: deadline of one read. If a read hangs longer, this and all later reads are unknown until the driver
            answers again.
        reopen_after_s: minimum time between two attempts to open a device that is lost or was never there.
        context_bytes: size of a CUDA context; see `attribute`.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], float],
        *,
        device: int | str = 0,
        timeout_s: float = 1.0,
        reopen_after_s: float = 5.0,
        context_bytes: int = CONTEXT_BYTES,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._device = device
        self._timeout_s = timeout_s
        self._reopen_after_s = reopen_after_s
        self._context_bytes = context_bytes
        self._thread: DeadlineThread[GpuReading] = DeadlineThread(f"nvml-{device}")
        # Both belong to the driver thread; no other thread may touch them while a call hangs.
        self._session: NvmlSession | None = None
        self._failed_open: tuple[float, str] | None = None  # when and why
        self._logged_reason: str | None = None  # None while the GPU is readable
        self._label: str | None = None  # as the driver names the device, once it was read

    def read(self) -> Observation:
        """Return the GPU's state now; unknown if it cannot be read within `timeout_s`."""
        try:
            reading = self._thread.call(self._look, timeout_s=self._timeout_s)
        except CallTimedOut:
            return self._unknown(f"NVML did not answer within {format_seconds(self._timeout_s)}")
        except StillHanging:
            # Not a new state: the reason of the time-out that began it stays.
            return self._unknown(self._logged_reason or "NVML is busy with an earlier call")
        except GpuUnreadable as error:
            return self._unknown(error.reason)
        except Exception as error:  # noqa: BLE001 - a read never raises, whatever the driver binding throws
            return self._unknown(f"NVML binding failed: {error!r}")
        now_s = self._clock()
        self._note_readable(reading)
        return attribute(
            reading, self._registry.view(now_s, self._gpu(reading)), at_s=now_s, context_bytes=self._context_bytes
        )

    def _gpu(self, reading: GpuReading) -> str | None:
        """Return the UUID whose reports count: that of the device. None for an index, which only one GPU can have."""
        return reading.uuid if isinstance(self._device, str) else None

    def _look(self) -> GpuReading:
        """Read the GPU, after opening it if necessary. Runs on the driver thread."""
        session = self._session or self._open()
        try:
            return session.read()
        except GpuUnreadable as error:
            if error.lost:
                self._session = None
                session.close()
            raise

    def _open(self) -> NvmlSession:
        now_s = self._clock()
        if self._failed_open is not None and now_s - self._failed_open[0] < self._reopen_after_s:
            raise GpuUnreadable(self._failed_open[1], lost=True)
        try:
            self._session = NvmlSession(self._device)
        except GpuUnreadable as error:
            self._failed_open = (now_s, error.reason)
            raise
        self._failed_open = None
        return self._session

    def _unknown(self, reason: str) -> Observation:
        if reason != self._logged_reason:
            log.warning("GPU %s cannot be read: %s", self._device, reason)
            self._logged_reason = reason
        return Observation.unknown(at_s=self._clock(), device=self._label or str(self._device), reason=reason)

    def _note_readable(self, reading: GpuReading) -> None:
        if self._logged_reason is not None or self._label is None:
            log.info("GPU %s is readable%s", reading.device, "" if self._label is None else " again")
        self._logged_reason = None
        self._label = reading.device
