"""Statistics of one model's calls for each of the last 120 seconds, of all processes that serve as one.

Each second has a histogram of latencies whose steps grow by a tenth. So a percentile is off by at most 5 %, and memory
is bounded by the number of steps, however many calls there are. Each process counts in its own table of 64-bit
integers, one row per second; readers add the tables up. Not thread-safe: for one event loop.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT_S = 120
"""Seconds of history."""

_STEP = math.log(1.1)
_FINEST_S = 1e-4
_STEPS = 192
"""Up to more than two hours."""

_SECOND, _CALLS, _FAILED, _REROUTED, _TOKENS, _LATENCIES = range(6)
"""Columns of a row; the histogram takes the rest."""
_COLUMNS = _LATENCIES + _STEPS
_ROWS = KEPT_S + 8
"""More than are read, so that a row is never read while it is cleared for a new second."""

TABLE_WORDS = _ROWS * _COLUMNS
"""Length of a table."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over a span; percentiles are None where no call was answered."""

    calls: int
    failed: int
    rerouted: int
    tokens: int
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """Complete seconds, the oldest first."""

    calls: tuple[int, ...]
    tokens: tuple[int, ...]
    p50_s: tuple[float | None, ...]


class Rolling:
    """Counts calls as they end, in the table of this process, and adds up the tables of all."""

    def __init__(
        self,
        clock: Callable[[], float],
        table: "memoryview[int] | None" = None,
        tables: "Callable[[], Iterable[memoryview[int]]] | None" = None,
    ) -> None:
        """Count in `table`, and read `tables`, this process's included. Without them this process is alone.

        `clock` returns the same time in every process.
        """
        self._clock = clock
        self._table = memoryview(bytearray(8 * TABLE_WORDS)).cast("q") if table is None else table
        self._tables = tables or (lambda: [self._table])

    def answered(self, latency_s: float, *, tokens: int, rerouted: bool) -> None:
        """Count a call that returned a result."""
        row = self._row()
        self._table[row + _CALLS] += 1
        self._table[row + _TOKENS] += tokens
        self._table[row + _REROUTED] += rerouted
        self._table[row + _LATENCIES + _step_of(latency_s)] += 1

    def failed(self) -> None:
        """Count a call that returned none."""
        row = self._row()
        self._table[row + _CALLS] += 1
        self._table[row + _FAILED] += 1

    def summary(self, span_s: int = 60) -> Summary:
        """Sum up the last `span_s` seconds, the current one included."""
        now = int(self._clock())
        total = self._added(now - span_s + 1, now + 1).sum(axis=0)  # (columns,)
        return Summary(
            calls=int(total[_CALLS]),
            failed=int(total[_FAILED]),
            rerouted=int(total[_REROUTED]),
            tokens=int(total[_TOKENS]),
            p50_s=_percentile(total[_LATENCIES:], 0.50),
            p95_s=_percentile(total[_LATENCIES:], 0.95),
        )

    def series(self) -> Series:
        """Return every complete second of the history; idle ones are zeros."""
        now = int(self._clock())
        rows = self._added(now - KEPT_S, now)  # (seconds, columns)
        return Series(
            calls=tuple(rows[:, _CALLS].tolist()),
            tokens=tuple(rows[:, _TOKENS].tolist()),
            p50_s=tuple(_percentile(row[_LATENCIES:], 0.50) if row[_CALLS] else None for row in rows),
        )

    def _row(self) -> int:
        """Return where this second's row begins; clear it first if it holds an older second."""
        second = int(self._clock())
        row = second % _ROWS * _COLUMNS
        if self._table[row + _SECOND] != second:
            self._table[row : row + _COLUMNS] = _EMPTY_ROW
            self._table[row + _SECOND] = second
        return row

    def _added(self, first: int, end: int) -> NDArray[np.int64]:
        """Add the rows of the seconds `first` to `end` of all tables: (seconds, columns)."""
        wanted = np.arange(first, end)
        added = np.zeros((end - first, _COLUMNS), dtype=np.int64)
        for words in self._tables():
            rows = np.frombuffer(words, dtype=np.int64).reshape(_ROWS, _COLUMNS)
            counted = rows[wanted % _ROWS]
            counted[counted[:, _SECOND] != wanted] = 0  # rows of other seconds
            added += counted
        return added


_EMPTY_ROW = memoryview(bytes(8 * _COLUMNS)).cast("q")


def _step_of(latency_s: float) -> int:
    return min(_STEPS - 1, round(math.log(max(latency_s, _FINEST_S) / _FINEST_S) / _STEP))


def _percentile(counts: NDArray[np.int64], share: float) -> float | None:
    """Return the latency that `share` of the calls do not exceed. `counts`: calls per step."""
    upto = np.cumsum(counts)
    total = int(upto[-1])
    if not total:
        return None
    return _FINEST_S * math.exp(int(np.searchsorted(upto, math.ceil(share * total))) * _STEP)
