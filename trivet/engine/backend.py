"""What the engine asks of a device."""

from collections.abc import Iterator
from typing import Protocol

from trivet.engine.batch.layout import Layout
from trivet.engine.batch.token_batch import TokenBatch
from trivet.errors import TrivetError
from trivet.messages import Floats


class Backend(Protocol):
    """Runs one batch at a time. Blocking; the engine calls it from a thread of its own."""

    @property
    def device(self) -> str:
        """Where it runs, for people: `cpu (openvino bf16)`, `cuda:0`, `simulated:0`."""

    @property
    def layout(self) -> Layout:
        """How a forward lays out sequences of different lengths, and what it then computes."""

    @property
    def token_budget(self) -> int:
        """Largest cost of the next batch, by the layout, in tokens; it may change from batch to batch."""

    @property
    def fault(self) -> str | None:
        """Why this process must be replaced before it can answer again; None while it need not."""

    def forward(self, batch: TokenBatch) -> Floats:
        """Run the batch: (sequences, outputs) float32 — pooled vectors for an embedder, logits otherwise.

        Raises:
            GpuUnavailable: this device cannot run even one sequence now.
            EngineError: the forward failed in a way that its CPU replica would not cure.
        """

    def steps(self, batch: TokenBatch) -> Iterator[Floats | None]:
        """The same forward in steps, between which another batch may run: None after each, at last the outputs.

        A device that runs a batch from end to end has one step. The iterator may be dropped at any step.
        """

    def close(self) -> None:
        """Give everything back."""


class BackendOutOfMemory(TrivetError):
    """The device ran out of memory during one forward; a smaller batch may fit."""
