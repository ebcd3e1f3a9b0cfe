"""Keeps a process to its share of the GPU: the share is for the allocator and for what CUDA holds besides.

What CUDA holds besides the allocator (its context, the code of the kernels, the CUDA graphs) differs from GPU to GPU
and from model to model. The driver is asked for it, once the process has computed something. Where the driver does not
list the process (WSL, a container without the host's PIDs), `CONTEXT_BYTES` is assumed.

It needs no torch: the caller measures and caps.
"""

import logging
from collections.abc import Callable

from trivet.gpu import CONTEXT_BYTES, allocator_bytes
from trivet.units import format_bytes

logger = logging.getLogger(__name__)


class Share:
    """What one process may take of a GPU."""

    def __init__(
        self,
        gpu_fraction: float,
        total_bytes: int,
        *,
        model: str,
        process_bytes: Callable[[], int | None],
        cap_allocator: Callable[[float], None],
    ) -> None:
        """Cap the allocator by an assumed context; `measure` corrects it.

        Args:
            gpu_fraction: largest share of the GPU's memory that this process may take.
            total_bytes: of the GPU.
            model: its name, for messages.
            process_bytes: what the driver says that this process holds of the GPU; None if it does not list it.
            cap_allocator: takes the largest share of the GPU's memory for the allocator alone.
        """
        self._gpu_fraction = gpu_fraction
        self._total_bytes = total_bytes
        self._model = model
        self._process_bytes = process_bytes
        self._cap_allocator = cap_allocator
        self.measured_bytes: int | None = None
        """What the process holds outside its allocator; None while it is not measured."""
        self._apply()

    @property
    def allocator_bytes(self) -> int:
        """What the allocator may take."""
        context_bytes = CONTEXT_BYTES if self.measured_bytes is None else self.measured_bytes
        return allocator_bytes(self._gpu_fraction, self._total_bytes, context_bytes)

    def measure(self, held_bytes: int) -> None:
        """Ask the driver, and cap the allocator accordingly. Call it while no other thread allocates.

        Args:
            held_bytes: what the allocator has taken of the GPU.
        """
        process_bytes = self._process_bytes()
        if process_bytes is None or process_bytes <= held_bytes:  # never so, but where the driver's figure is not ours
            return
        self.measured_bytes = process_bytes - held_bytes
        self._apply()
        logger.info(
            "%s: its process holds %s of the GPU outside the allocator (assumed: %s), which may take %s",
            self._model,
            format_bytes(self.measured_bytes),
            format_bytes(CONTEXT_BYTES),
            format_bytes(self.allocator_bytes),
        )

    def _apply(self) -> None:
        self._cap_allocator(self.allocator_bytes / self._total_bytes)
