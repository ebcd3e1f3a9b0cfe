"""A request inside the engine: its rows, the outputs as they arrive, and what becomes of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from trivet.engine.batch.sequences import Row
from trivet.messages import EngineResult, Floats, Priority, StageTimings, Usage

Finish = Callable[[Floats, StageTimings], EngineResult]
"""Turns all outputs of a job, (rows, outputs) in row order, into its result."""


@dataclass(slots=True)
class Job:
    """Rows of one request. `future` is resolved when the last row is done, or with the first error."""

    rows: Sequence[Row]
    finish: Finish
    priority: Priority
    tokenize_s: float = 0.0
    submitted_s: float = 0.0
    started_s: float | None = None
    forward_s: float = 0.0
    future: "asyncio.Future[EngineResult] | None" = None
    _outputs: Floats | None = field(default=None, repr=False)
    _missing: int = field(default=-1, repr=False)

    @property
    def tokens(self) -> int:
        """Tokens of all rows, padding not counted."""
        return sum(row.tokens for row in self.rows)

    def is_abandoned(self) -> bool:
        """Whether nobody waits for the future any more (cancelled, or failed by another row)."""
        return self.future is not None and self.future.done()

    def deliver(self, row: int, output: Floats) -> None:
        """Take one row's output, (outputs,); finish the job with the last one."""
        if self._outputs is None:
            self._outputs = np.empty((len(self.rows), len(output)), dtype=np.float32)
            self._missing = len(self.rows)
        self._outputs[row] = output
        self._missing -= 1
        if self._missing == 0:
            self._complete(self._outputs)

    def _complete(self, outputs: Floats) -> None:
        assert self.future is not None
        if self.future.done():
            return
        queue_s = (self.started_s or self.submitted_s) - self.submitted_s
        try:
            self.future.set_result(self.finish(outputs, StageTimings(self.tokenize_s, queue_s, self.forward_s)))
        except Exception as error:  # noqa: BLE001 - a future must be resolved whatever its head does
            self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        """End the job with an error, unless it has ended already."""
        assert self.future is not None
        if not self.future.done():
            self.future.set_exception(error)


def usage(rows: Sequence[Row], windows: Sequence[int], truncated: Sequence[bool]) -> Usage:
    """Account for a job: what was read, in how many windows, and whether anything was left out.

    Rows lie input by input, and every window of a job became the same number of them.
    """
    per_window = len(rows) // max(1, sum(windows))
    tokens = iter(row.tokens for row in rows)
    return Usage(
        input_tokens=tuple(sum(islice(tokens, count * per_window)) for count in windows),
        windows=tuple(windows),
        truncated=tuple(truncated),
        sequences_per_window=per_window,
    )
