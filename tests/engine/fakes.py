"""Small real backends: they compute something checkable from the ids they are given."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from trivet.engine.backend import InSteps, OneStep, Pending
from trivet.engine.batch.layout import PADDED, Layout
from trivet.engine.batch.token_batch import TokenBatch
from trivet.messages import Floats


class SummingBackend:
    """Output per sequence: (sum of its ids, its number of tokens). Remembers every batch."""

    device = "cpu (sum)"
    falls_back = False
    gpu = None
    fault = None
    in_flight = 1
    layout: Layout = PADDED

    def __init__(self, token_budget: int = 64) -> None:
        self.token_budget = token_budget
        self.batches: list[TokenBatch] = []
        self.closed = False
        self.tidied = 0

    def release_scratch(self) -> None:
        self.tidied += 1

    def launch(self, batch: TokenBatch) -> Pending:
        return OneStep(partial(self.forward, batch))

    def forward(self, batch: TokenBatch) -> Floats:
        self.batches.append(batch)
        sums = np.add.reduceat(batch.ids, batch.cu_seqlens[:-1])
        return np.stack([sums, batch.lengths], axis=1).astype(np.float32)

    def close(self) -> None:
        self.closed = True


class FailingBackend(SummingBackend):
    """Raises the given error for sequences that contain token 13."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__(token_budget=1)
        self._error = error

    def forward(self, batch: TokenBatch) -> Floats:
        if (batch.ids == 13).any():
            raise self._error()
        return super().forward(batch)


class GatedBackend(SummingBackend):
    """Blocks every forward until `gate` is set."""

    def __init__(self, token_budget: int = 64) -> None:
        super().__init__(token_budget)
        self.gate = threading.Event()
        self.entered = threading.Event()

    def forward(self, batch: TokenBatch) -> Floats:
        self.entered.set()
        self.gate.wait(timeout=30)
        return super().forward(batch)


class SteppingBackend(SummingBackend):
    """Cuts batches of more than `uncut_tokens` into `count` steps."""

    def __init__(self, count: int, *, uncut_tokens: int, token_budget: int = 8) -> None:
        super().__init__(token_budget)
        self.count = count
        self.uncut_tokens = uncut_tokens
        self.order: list[tuple[int, int]] = []
        """(longest sequence, step) of everything that ran."""
        self.before_step: Callable[[int, int], None] = lambda longest, step: None
        """Called in the forward's thread before `order` gets the same pair."""

    def launch(self, batch: TokenBatch) -> Pending:
        return InSteps(self._steps(batch))

    def _steps(self, batch: TokenBatch) -> Iterator[Floats | None]:
        count = self.count if self.layout.cost(batch.lengths) > self.uncut_tokens else 1
        for step in range(count):
            self.before_step(batch.max_len, step)
            self.order.append((batch.max_len, step))
            if step < count - 1:
                yield None
        yield self.forward(batch)


class PipelinedBackend(SummingBackend):
    """Has two forwards in flight, as a GPU does: `launch` returns at once, and the device computes them in turn.

    Each forward ends when a permit is given by `finish`, in the order in which they were launched.
    """

    in_flight = 2

    def __init__(self, token_budget: int = 64) -> None:
        super().__init__(token_budget)
        self.launched: list[TokenBatch] = []
        self.when_done: Callable[[TokenBatch], None] = lambda batch: None
        """Called as the device ends a forward; it may raise."""
        self._permits = threading.Semaphore(0)
        self._turns: list[threading.Event] = []
        self._launching = threading.Lock()

    def finish(self, forwards: int = 1) -> None:
        """Let so many forwards end."""
        self._permits.release(forwards)

    def launch(self, batch: TokenBatch) -> Pending:
        assert self._launching.acquire(blocking=False), "two launches overlap"
        before, done = (self._turns[-1] if self._turns else None), threading.Event()
        self._turns.append(done)
        self.launched.append(batch)
        self._launching.release()
        return OneStep(partial(self._wait, batch, before, done))

    def _wait(self, batch: TokenBatch, before: threading.Event | None, done: threading.Event) -> Floats:
        try:
            assert before is None or before.wait(timeout=30)
            assert self._permits.acquire(timeout=30)
            self.when_done(batch)
            return self.forward(batch)
        finally:
            done.set()
