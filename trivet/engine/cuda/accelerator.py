"""The interface of a device whose own memory can run out, as the GPU lane uses it."""

from dataclasses import dataclass
from typing import Protocol

from trivet.engine.backend import Pending
from trivet.engine.batch.layout import Layout
from trivet.engine.batch.token_batch import TokenBatch


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What an allocator reports about its memory, in bytes."""

    held_bytes: int
    """Taken from the GPU, in use or not."""
    reusable_bytes: int
    """The part of `held_bytes` that no tensor occupies."""
    returnable_bytes: int
    """The part of `reusable_bytes` that `Accelerator.free_cache` returns to the GPU."""
    weights_bytes: int
    """What the weights take when they are on the GPU."""


class Accelerator(Protocol):
    """A device with its own memory. Its methods are never called by two threads at once; those of forwards may be."""

    @property
    def device(self) -> str:
        """Its human-readable name: `cuda:0`, `simulated:0`."""

    @property
    def fault(self) -> str | None:
        """Why this process can never use the device again (a poisoned context); None while it can."""

    @property
    def layout(self) -> Layout:
        """How a forward lays out sequences of different lengths."""

    @property
    def in_flight(self) -> int:
        """How many launched forwards may wait to be read. Constant."""

    def launch(self, batch: TokenBatch) -> Pending:
        """Begin one forward. All the memory that it will need has been taken when this returns.

        The forward raises `GpuUnavailable`, here or in its step, where the device is lost.

        Raises:
            BackendOutOfMemory: the batch did not fit; all its memory has been released.
        """

    def free_cache(self) -> None:
        """Return the allocator's unused memory to the GPU. It is slow, so no request may wait for it."""

    def offload(self) -> None:
        """Take the weights off the GPU, once the forwards in flight have ended."""

    def reload(self) -> None:
        """Put the weights on the GPU. If they do not fit, it raises `BackendOutOfMemory` and they stay offloaded."""

    def prepare(self, max_tokens: int) -> None:
        """Make everything ready for batches of up to so many tokens, once the weights are on the GPU."""

    def memory(self) -> DeviceMemory:
        """Report the allocator's memory."""

    def measure_context(self) -> int | None:
        """Measure what the process holds of the device outside its allocator, and keep to its share; None: unknown.

        Any thread may call it at any time.
        """

    def close(self) -> None:
        """Release the device and its memory."""
