"""Keeps a process to its share of the GPU: the share is for the allocator and for what CUDA holds besides.

What CUDA holds besides the allocator (its context, the code of the kernels, the CUDA graphs) differs from GPU to GPU
and from model to model, and grows when a kernel is used for the first time. The driver is asked for it again and again,
for the first time when the process has computed something. Where the driver does not
list the process (WSL, a container without the host's PIDs), `CONTEXT_BYTES` is assumed.

It needs no torch: the caller measures and caps.
"""

import logging
from collections.abc import Callable
from typing import Final

from trivet.gpu import CONTEXT_BYTES, allocator_bytes
from trivet.units import GIB, format_bytes

logger = logging.getLogger(__name__)

MOST_CONTEXT_BYTES: Final = 2 * GIB
"""More than twice of what was ever seen (0.9 GiB, on an H200)."""


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
        """Let the allocator take the whole share until the first `measure`.

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
        self._disbelieved = False
        self.measured_bytes: int | None = None
        """What the process holds outside its allocator; None while it is not measured."""
        cap_allocator(gpu_fraction)

    @property
    def all_bytes(self) -> int:
        """What the process may take."""
        return int(self._gpu_fraction * self._total_bytes)

    @property
    def allocator_bytes(self) -> int:
        """What the allocator may take, by the measured context or the assumed one."""
        context_bytes = CONTEXT_BYTES if self.measured_bytes is None else self.measured_bytes
        return allocator_bytes(self._gpu_fraction, self._total_bytes, context_bytes)

    def measure(self, held_bytes: Callable[[], int]) -> None:
        """Ask the driver, and cap the allocator accordingly.

        The last measurement holds, or the assumption, where the driver does not say, where the allocator took or
        returned memory meanwhile, and where the figure cannot be that of this process: in a container, its number may
        be another one's outside.

        Args:
            held_bytes: returns what the allocator has taken of the GPU.
        """
        self._apply()
        before_bytes = held_bytes()
        process_bytes = self._process_bytes()
        if process_bytes is None or held_bytes() != before_bytes:
            return
        measured_bytes = process_bytes - before_bytes
        if measured_bytes == self.measured_bytes:
            return
        if not 0 < measured_bytes <= MOST_CONTEXT_BYTES:
            if not self._disbelieved:
                self._disbelieved = True
                logger.warning(
                    "%s: the driver states %s of the GPU for its process, whose allocator holds %s: not believed",
                    self._model,
                    format_bytes(process_bytes),
                    format_bytes(before_bytes),
                )
            return
        self.measured_bytes = measured_bytes
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
