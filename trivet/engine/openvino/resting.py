"""A CPU backend that can rest: its weights then lie in the files of the IR cache and take no memory of the process.

OpenVINO maps the weights, and packs each matrix into its own layout during the first forward. A replica that rests has
dropped the graph with what was packed, and keeps tokenizer and limits. It wakes by compiling the graph from the mapped
files again, at the next forward or when it is told to. `trivet.vram.resting` decides when.
"""

import logging
import threading
import time
from collections.abc import Callable

from trivet.engine.backend import Backend, Pending
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.text.memory import give_back

logger = logging.getLogger(__name__)


class RestingBackend:
    """A `trivet.engine.backend.Backend` over another one, which it opens when it is needed."""

    falls_back = False
    gpu = None
    fault = None  # a CPU has no context to poison

    def __init__(self, open_backend: Callable[[], Backend], *, model: str, clock: Callable[[], float]) -> None:
        """Open the backend, so that a model that cannot be opened is known at once.

        Args:
            open_backend: opens it and computes a first forward.
            model: its name, for messages.
            clock: monotonic seconds.
        """
        self._open = open_backend
        self._model = model
        self._clock = clock
        inner = open_backend()
        self.device, self.layout = inner.device, inner.layout
        self.in_flight, self.token_budget = inner.in_flight, inner.token_budget
        self._inner: Backend | None = inner
        self._used_s = clock()
        self._lock = threading.Lock()
        give_back()

    @property
    def resting(self) -> bool:
        """Whether the weights are out of memory."""
        return self._inner is None

    @property
    def idle_s(self) -> float:
        """Time since the last forward was launched, or since the start."""
        return self._clock() - self._used_s

    def launch(self, batch: TokenBatch) -> Pending:
        """Begin a forward, after waking if need be."""
        pending = self.wake().launch(batch)
        self._used_s = self._clock()
        return pending

    def wake(self) -> Backend:
        """Open the backend unless it is open, and return it. Blocks for seconds; raises what opening it raises."""
        with self._lock:
            if self._inner is None:
                began_s = time.perf_counter()
                self._inner = self._open()
                give_back()
                logger.info("%s: the CPU replica woke in %.2f s", self._model, time.perf_counter() - began_s)
            return self._inner

    def rest(self) -> None:
        """Drop the graph and its memory. A forward in flight keeps both until its end."""
        with self._lock:
            if self._inner is not None:
                self._inner = None
                logger.info("%s: the CPU replica rests; its weights are in the IR cache", self._model)
        give_back()

    def release_scratch(self) -> None:
        """Return the buffers of the graph, unless it rests."""
        with self._lock:
            inner = self._inner
        if inner is not None:
            inner.release_scratch()

    def close(self) -> None:
        """Drop the graph for good."""
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()
