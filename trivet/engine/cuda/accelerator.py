"""What the GPU lane asks of a device that has memory of its own: run, run out, free, offload."""

from dataclasses import dataclass
from typing import Protocol

from trivet.engine.batch.layout import Layout
from trivet.engine.batch.token_batch import TokenBatch
from trivet.messages import Floats


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """An allocator about itself, in bytes."""

    held_bytes: int
    """Taken from the GPU, in use or not."""
    reusable_bytes: int
    """The part of it that no tensor occupies."""
    weights_bytes: int
    """What the weights take when they are on the GPU."""


class Accelerator(Protocol):
    """A device with a memory that can run out. Blocking; never called by two threads at once."""

    @property
    def device(self) -> str:
        """`cuda:0`, `simulated:0`."""

    @property
    def fault(self) -> str | None:
        """Why this process can never use the device again (a poisoned context); None while it can."""

    @property
    def layout(self) -> Layout:
        """How a forward lays out sequences of different lengths."""

    def run(self, batch: TokenBatch) -> Floats:
        """Run one forward: (sequences, outputs) float32.

        Raises:
            BackendOutOfMemory: the batch did not fit; nothing is left allocated by it.
            GpuUnavailable: the device is lost.
        """

    def free_cache(self) -> None:
        """Return what the allocator holds free to the GPU. Slow: recovery and offloading only."""

    def offload(self) -> None:
        """Take the weights off the GPU."""

    def reload(self) -> None:
        """Put them back; BackendOutOfMemory, and still offloaded, where they do not fit."""

    def memory(self) -> DeviceMemory:
        """What the allocator holds now."""

    def close(self) -> None:
        """Give everything back."""
