"""Small real backends: they compute something checkable from the ids they are given."""

import threading
from collections.abc import Callable, Iterator

import numpy as np

from trivet.engine.batch.sequences import TokenBatch
from trivet.messages import Floats


class SummingBackend:
    """Output per row: (sum of its ids, its number of tokens). Remembers every batch."""

    device = "cpu (sum)"
    fault = None
    packs = False

    def __init__(self, token_budget: int = 64) -> None:
        self.token_budget = token_budget
        self.batches: list[TokenBatch] = []
        self.closed = False

    def forward(self, batch: TokenBatch) -> Floats:
        self.batches.append(batch)
        ids = batch.input_ids * batch.attention_mask
        return np.stack([ids.sum(axis=1), batch.attention_mask.sum(axis=1)], axis=1).astype(np.float32)

    def steps(self, batch: TokenBatch) -> Iterator[Floats | None]:
        yield self.forward(batch)

    def close(self) -> None:
        self.closed = True


class FailingBackend(SummingBackend):
    """Raises what it is given for rows that contain token 13."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__(token_budget=1)
        self._error = error

    def forward(self, batch: TokenBatch) -> Floats:
        if (batch.input_ids == 13).any():
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
        """(longest row, step) of everything that ran."""
        self.before_step: Callable[[int, int], None] = lambda longest, step: None
        """Called in the thread of the forwards with what `order` is about to get."""

    def steps(self, batch: TokenBatch) -> Iterator[Floats | None]:
        longest = batch.input_ids.shape[1]
        count = self.count if batch.padded_tokens > self.uncut_tokens else 1
        for step in range(count):
            self.before_step(longest, step)
            self.order.append((longest, step))
            if step < count - 1:
                yield None
        yield self.forward(batch)
