"""Which rows run together, and whose turn it is. Pure: no clock, no threads, no tensors.

Theory of operation
-------------------
Rows wait in *lines*, one per (priority, length bucket); a bucket's lengths differ by about a tenth, so a batch
from one line carries little padding. Where a forward packs rows of any lengths, a batch is filled from one line after
another, in their order. Lines take turns by start-time fair queueing (Goyal, Vin, Cheng, 1996):
each line has a virtual time that advances by the tokens it was served, divided by its priority's weight;
the line that is furthest behind goes next. A line that was empty enters at the current virtual time, so it
neither pays for its silence nor profits from it. What follows:

- a short row never waits behind a queue of long ones: its line enters at the front;
- nobody starves: a line is overtaken by at most one batch of each other line per turn (times the weights);
- within a line rows are first in, first out.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from trivet.messages import Priority

BUCKET_GROWTH = 1.1
SMALLEST_BUCKET_TOKENS = 16
MAX_PADDING_RATIO = 1.10
"""Padded ÷ useful tokens up to which a batch is topped up from neighbouring buckets."""
NEGLIGIBLE_PADDING_TOKENS = 64
"""Padding that costs nothing measurable, whatever the ratio."""

WEIGHTS: dict[Priority, float] = {"interactive": 8.0, "bulk": 1.0}

T = TypeVar("T")


def bucket_of(tokens: int) -> int:
    """Index of the length bucket; bucket k ends at SMALLEST_BUCKET_TOKENS × BUCKET_GROWTH^k."""
    if tokens <= SMALLEST_BUCKET_TOKENS:
        return 0
    return math.ceil(math.log(tokens / SMALLEST_BUCKET_TOKENS) / math.log(BUCKET_GROWTH))


@dataclass(slots=True)
class _Line(Generic[T]):
    priority: Priority
    bucket: int
    waiting: deque[tuple[int, T]] = field(default_factory=deque)  # (tokens, item)
    virtual_time: float = 0.0


class FairQueue(Generic[T]):
    """Items with a length and a priority, handed out in batches of at most a token budget."""

    def __init__(self, is_abandoned: Callable[[T], bool]) -> None:
        """`is_abandoned(item)`: its caller has left; it is dropped instead of served."""
        self._is_abandoned = is_abandoned
        self._lines: dict[tuple[Priority, int], _Line[T]] = {}
        self._virtual_time = 0.0
        self._items = 0
        self._tokens = 0

    def __len__(self) -> int:
        return self._items

    @property
    def waiting_tokens(self) -> int:
        """Tokens of everything that waits."""
        return self._tokens

    def oldest(self) -> Iterator[T]:
        """The item that has waited longest in each line."""
        return (line.waiting[0][1] for line in self._lines.values() if line.waiting)

    def push(self, item: T, tokens: int, priority: Priority) -> None:
        """Append to the item's line."""
        key = (priority, bucket_of(tokens))
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(*key)
        if not line.waiting:
            line.virtual_time = max(line.virtual_time, self._virtual_time)
        line.waiting.append((tokens, item))
        self._items += 1
        self._tokens += tokens

    def drop_abandoned(self) -> None:
        """Let go of all items whose callers have left, wherever in their lines they are."""
        for line in self._lines.values():
            kept = deque(entry for entry in line.waiting if not self._is_abandoned(entry[1]))
            self._items -= len(line.waiting) - len(kept)
            self._tokens -= sum(tokens for tokens, _ in line.waiting) - sum(tokens for tokens, _ in kept)
            line.waiting = kept

    def next_batch(self, budget_tokens: int, max_tokens: int | None = None, *, packs: bool = False) -> list[T]:
        """Take the next batch, of at most the budget, except that one row is taken however long it is.

        Args:
            budget_tokens: tokens the batch may hold: rows × longest, or the rows' own where the forward packs.
            max_tokens: leave rows longer than this where they are (for a worker that runs only short ones).
            packs: rows of any lengths go together, whoever's turn it is; otherwise only those that pad little.
        """
        line = self._line_to_serve(max_tokens)
        if line is None:
            return []
        self._virtual_time = line.virtual_time
        batch: list[T] = []
        longest = useful = 0
        for candidate in self._in_turn(max_tokens) if packs else self._nearby(line):
            while candidate.waiting:
                tokens, item = candidate.waiting[0]
                if self._is_abandoned(item):
                    self._pop(candidate)
                    continue
                grown = max(longest, tokens)
                computed = useful + tokens if packs else grown * (len(batch) + 1)
                if batch and (computed > budget_tokens or not _pads_little(computed, useful + tokens)):
                    break
                batch.append(item)
                longest, useful = grown, useful + tokens
                self._pop(candidate)
                candidate.virtual_time += tokens / WEIGHTS[candidate.priority]
        if not batch and self._items:  # the whole line had been abandoned
            return self.next_batch(budget_tokens, max_tokens, packs=packs)
        return batch

    def _line_to_serve(self, max_tokens: int | None) -> _Line[T] | None:
        return next(iter(self._in_turn(max_tokens)), None)

    def _in_turn(self, max_tokens: int | None) -> list[_Line[T]]:
        """The lines whose rows are no longer than that, the one furthest behind first."""
        limit = math.inf if max_tokens is None else bucket_of(max_tokens)
        ready = [line for line in self._lines.values() if line.waiting and line.bucket <= limit]
        return sorted(ready, key=lambda line: (line.virtual_time, line.bucket))

    def _nearby(self, line: _Line[T]) -> list[_Line[T]]:
        """The line itself, then those whose rows pad least into it: shorter ones, longest first."""
        shorter = [other for other in self._lines.values() if other.waiting and other.bucket <= line.bucket]
        shorter.sort(key=lambda other: (other is not line, -other.bucket, other.virtual_time))
        return shorter

    def _pop(self, line: _Line[T]) -> None:
        tokens, _ = line.waiting.popleft()
        self._items -= 1
        self._tokens -= tokens


def _pads_little(padded_tokens: int, useful_tokens: int) -> bool:
    waste = padded_tokens - useful_tokens
    return waste <= NEGLIGIBLE_PADDING_TOKENS or padded_tokens <= MAX_PADDING_RATIO * useful_tokens
