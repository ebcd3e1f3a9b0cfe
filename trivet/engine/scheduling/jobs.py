"""A request inside the engine: its sequences, their outputs as they arrive, and its result."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from trivet.engine.batch.token_batch import TokenSequence
from trivet.messages import EngineResult, Floats, Priority, StageTimings, Usage

Finish = Callable[[Floats, StageTimings], EngineResult]
"""Turns all outputs of a job, (sequences, outputs) in the order of its sequences, into its result."""

Compact = Callable[[int, Floats], Floats]
"""Makes what is kept of the output of one sequence, given its index; a copy, since outputs share memory with others."""

FinishKept = Callable[[Sequence[Floats], StageTimings], EngineResult]
"""Turns what was kept of each output, in the order of the sequences, into the result."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How a job treats outputs that differ in size or would take much memory: it keeps a part of each."""

    compact: Compact
    finish: FinishKept


@dataclass(slots=True)
class Job:
    """Sequences of one request. `future` is resolved with the last output, or with the first error."""

    sequences: Sequence[TokenSequence]
    finish: Finish | Kept
    priority: Priority
    per_token: bool = False
    """Whether an output is (tokens, numbers) of one sequence instead of (numbers,)."""
    tokenize_s: float = 0.0
    submitted_s: float = 0.0
    started_s: float | None = None
    forward_s: float = 0.0
    future: "asyncio.Future[EngineResult] | None" = None
    _outputs: Floats | None = field(default=None, repr=False)
    _kept: dict[int, Floats] = field(default_factory=dict, repr=False)
    _missing: int = field(default=-1, repr=False)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences, without padding."""
        return sum(sequence.tokens for sequence in self.sequences)

    def is_abandoned(self) -> bool:
        """Whether no caller waits for the future any more: it was cancelled, or another sequence has failed it."""
        return self.future is not None and self.future.done()

    def deliver(self, index: int, output: Floats) -> None:
        """Store the output of one sequence, (outputs,) or (tokens, outputs); resolve the future with the last one."""
        if self._missing < 0:
            self._missing = len(self.sequences)
        if isinstance(self.finish, Kept):
            try:
                self._kept[index] = self.finish.compact(index, output)
            except Exception as error:  # noqa: BLE001 - as in `_complete`: the caller waits for the future
                self.fail(error)
                return
        else:
            if self._outputs is None:
                self._outputs = np.empty((len(self.sequences), len(output)), dtype=np.float32)
            self._outputs[index] = output
        self._missing -= 1
        if self._missing == 0:
            self._complete()

    def _result(self, timings: StageTimings) -> EngineResult:
        if isinstance(self.finish, Kept):
            return self.finish.finish([self._kept[index] for index in range(len(self.sequences))], timings)
        assert self._outputs is not None
        return self.finish(self._outputs, timings)

    def _complete(self) -> None:
        assert self.future is not None
        if self.future.done():
            return
        queue_s = (self.started_s or self.submitted_s) - self.submitted_s
        try:
            self.future.set_result(self._result(StageTimings(self.tokenize_s, queue_s, self.forward_s)))
        except Exception as error:  # noqa: BLE001 - the caller waits for the future, whatever `finish` raises
            self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        """End the job with an error, unless it has ended already."""
        assert self.future is not None
        if not self.future.done():
            self.future.set_exception(error)


def usage(sequences: Sequence[TokenSequence], windows: Sequence[int], truncated: Sequence[bool]) -> Usage:
    """Account for a job.

    Args:
        sequences: all of them, input by input; every window became the same number of sequences.
        windows: of each input.
        truncated: whether each input was cut.
    """
    per_window = len(sequences) // max(1, sum(windows))
    tokens = iter(sequence.tokens for sequence in sequences)
    return Usage(
        input_tokens=tuple(sum(islice(tokens, count * per_window)) for count in windows),
        windows=tuple(windows),
        truncated=tuple(truncated),
        sequences_per_window=per_window,
    )
