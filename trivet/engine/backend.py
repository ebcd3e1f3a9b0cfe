"""The interface of a device that runs forwards."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from trivet.engine.batch.layout import Layout
from trivet.engine.batch.token_batch import TokenBatch
from trivet.errors import TrivetError
from trivet.messages import Floats, GpuFacts


class Pending(Protocol):
    """A forward that has been launched. Its methods block; it may be dropped between two steps."""

    def step(self) -> Floats | None:
        """Compute up to the next point at which another forward may run.

        Returns:
            The outputs once nothing is left to compute, None before. They are (sequences, outputs) float32: pooled
            vectors of an embedder, logits of other models. Of a batch with `per_token`: (tokens, outputs), the tokens
            of all sequences one after another.

        Raises:
            GpuUnavailable: this device cannot compute even one sequence now.
            EngineError: the forward failed in a way that a CPU replica would share.
        """

    def result(self) -> Floats:
        """Compute everything that is left and return the outputs; raises as `step` does."""


class Backend(Protocol):
    """Runs batches of one model on one device. Its methods block; the scheduler calls them from its own threads."""

    @property
    def device(self) -> str:
        """Its human-readable name: `cpu (openvino bf16)`, `cuda:0`, `simulated:0`."""

    @property
    def layout(self) -> Layout:
        """How a forward lays out sequences of different lengths, and how many tokens it then computes."""

    @property
    def token_budget(self) -> int:
        """Largest cost of the next batch, by the layout, in tokens; it may change from batch to batch."""

    @property
    def in_flight(self) -> int:
        """How many forwards may be pending at once. Constant.

        With more than one, the next batch is prepared while one is computed, and different threads may wait for
        different forwards.
        """

    @property
    def falls_back(self) -> bool:
        """Whether another replica, on a CPU, computes what this one cannot. Constant."""

    @property
    def gpu(self) -> GpuFacts | None:
        """How a GPU computes the model; None on a CPU, and where the GPU is simulated. Constant."""

    @property
    def fault(self) -> str | None:
        """Why this process must be replaced before it can answer again; None if it can."""

    def launch(self, batch: TokenBatch) -> Pending:
        """Begin a forward. Calls never overlap. A device that cannot compute on its own computes in `Pending.step`.

        Raises:
            GpuUnavailable, EngineError: as `Pending.step`.
        """

    def release_scratch(self) -> None:
        """Return the host memory that forwards leave behind; the next one takes it again. Never while one runs."""

    def close(self) -> None:
        """Release the device and its memory."""


class BackendOutOfMemory(TrivetError):
    """The device ran out of memory during one forward; a smaller batch may fit."""


class OneStep:
    """A `Pending` of a device that runs a forward from end to end."""

    def __init__(self, compute: Callable[[], Floats]) -> None:
        self._compute = compute

    def step(self) -> Floats:
        """Compute the forward."""
        return self._compute()

    result = step


class Joined:
    """A `Pending` of several forwards in place of one, whose outputs it lays one below the other."""

    def __init__(self, *parts: Pending) -> None:
        self._parts = parts

    def step(self) -> Floats:
        """Compute all of them."""
        joined: Floats = np.concatenate([part.result() for part in self._parts])
        return joined

    result = step


class InSteps:
    """A `Pending` over an iterator that yields None after each step but the last, and then the outputs."""

    def __init__(self, steps: Iterator[Floats | None]) -> None:
        self._steps = steps

    def step(self) -> Floats | None:
        """Compute the next step."""
        return next(self._steps)

    def result(self) -> Floats:
        """Compute all remaining steps."""
        return next(outputs for outputs in self._steps if outputs is not None)
