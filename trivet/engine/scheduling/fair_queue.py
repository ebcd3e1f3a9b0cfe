"""Decides which sequences run together, and whose turn it is. Pure: no clock, no threads, no tensors.

Theory of operation
-------------------
Sequences wait in *flows*, one per priority, length bucket and kind. The lengths in a bucket differ by about a tenth, so
a batch from one flow carries little padding. Where a forward pads, a batch is topped up from the flows of slightly
shorter sequences. Where a forward mixes lengths at no cost, a batch is filled from all flows, in the order of their
turns. Numbers of a sequence and numbers of its tokens come from different forwards: flows of the two *kinds* never
share a batch.

Flows take turns by start-time fair queueing (Goyal, Vin, Cheng, 1996). Each flow has a virtual time, which advances by
the tokens that it was served, divided by the weight of its priority. The flow with the smallest virtual time is served
next. A flow that was empty enters at the current virtual time, so that its silence neither costs nor earns it anything.
It follows that

- a short sequence never waits behind a queue of long ones, because its flow enters at the front;
- no flow starves: between two of its turns, every other flow is served at most one batch (times the weights);
- within a flow, sequences are first in, first out.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from trivet.engine.batch.layout import Layout
from trivet.messages import Priority

BUCKET_GROWTH = 1.1
SMALLEST_BUCKET_TOKENS = 16
MAX_PADDING_RATIO = 1.10
"""Largest ratio of computed to given tokens at which a batch is topped up from shorter buckets."""
NEGLIGIBLE_PADDING_TOKENS = 64
"""Padding up to this size is accepted at any ratio: it costs nothing that can be measured."""

WEIGHTS: dict[Priority, float] = {"interactive": 8.0, "bulk": 1.0}

T = TypeVar("T")


def bucket_of(tokens: int) -> int:
    """Return the index of the length bucket; bucket k ends at SMALLEST_BUCKET_TOKENS × BUCKET_GROWTH^k."""
    if tokens <= SMALLEST_BUCKET_TOKENS:
        return 0
    return math.ceil(math.log(tokens / SMALLEST_BUCKET_TOKENS) / math.log(BUCKET_GROWTH))


@dataclass(slots=True)
class _Flow(Generic[T]):
    priority: Priority
    bucket: int
    per_token: bool
    waiting: deque[tuple[int, T]] = field(default_factory=deque)  # (tokens, item)
    virtual_time: float = 0.0


class FairQueue(Generic[T]):
    """Items with a length and a priority, handed out in batches of at most a token budget."""

    def __init__(self, layout: Layout, is_abandoned: Callable[[T], bool]) -> None:
        """Create an empty queue.

        Args:
            layout: how a forward lays out the items, and so what a batch of them costs.
            is_abandoned: whether an item's caller has left; such items are dropped instead of served.
        """
        self._layout = layout
        self._is_abandoned = is_abandoned
        self._flows: dict[tuple[Priority, int, bool], _Flow[T]] = {}
        self._virtual_time = 0.0
        self._items = 0
        self._tokens = 0

    def __len__(self) -> int:
        return self._items

    @property
    def waiting_tokens(self) -> int:
        """Tokens of all waiting items."""
        return self._tokens

    def oldest(self) -> Iterator[T]:
        """Yield the item of each flow that has waited longest."""
        return (flow.waiting[0][1] for flow in self._flows.values() if flow.waiting)

    def push(self, item: T, tokens: int, priority: Priority, *, per_token: bool = False) -> None:
        """Append an item to its flow; `per_token` is its kind."""
        key = (priority, bucket_of(tokens), per_token)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(*key)
        if not flow.waiting:
            flow.virtual_time = max(flow.virtual_time, self._virtual_time)
        flow.waiting.append((tokens, item))
        self._items += 1
        self._tokens += tokens

    def drop_abandoned(self) -> None:
        """Drop every item whose caller has left, wherever it stands in its flow."""
        for flow in self._flows.values():
            kept = deque(entry for entry in flow.waiting if not self._is_abandoned(entry[1]))
            self._items -= len(flow.waiting) - len(kept)
            self._tokens -= sum(tokens for tokens, _ in flow.waiting) - sum(tokens for tokens, _ in kept)
            flow.waiting = kept

    def next_batch(self, budget_tokens: int, max_tokens: int | None = None) -> list[T]:
        """Take the next batch. A single item is taken even if it exceeds the budget.

        Args:
            budget_tokens: largest cost of the batch, by the layout.
            max_tokens: skip flows of items longer than this.
        """
        ready = self._in_turn(max_tokens)
        if not ready:
            return []
        first = ready[0]
        self._virtual_time = first.virtual_time
        batch: list[T] = []
        longest = total = 0
        of_one_kind = [flow for flow in ready if flow.per_token == first.per_token]
        for flow in of_one_kind if self._layout.mixes_lengths else self._nearby(first):
            while flow.waiting:
                tokens, item = flow.waiting[0]
                if self._is_abandoned(item):
                    self._pop(flow)
                    continue
                grown = max(longest, tokens)
                computed = self._layout.filled(len(batch) + 1, grown, total + tokens)
                if batch and (computed > budget_tokens or not _pads_little(computed, total + tokens)):
                    break
                batch.append(item)
                longest, total = grown, total + tokens
                self._pop(flow)
                flow.virtual_time += tokens / WEIGHTS[flow.priority]
        if not batch and self._items:  # every item of the flow had been abandoned
            return self.next_batch(budget_tokens, max_tokens)
        return batch

    def _in_turn(self, max_tokens: int | None) -> list[_Flow[T]]:
        """Non-empty flows of items up to that length, the one with the smallest virtual time first."""
        limit = math.inf if max_tokens is None else bucket_of(max_tokens)
        ready = [flow for flow in self._flows.values() if flow.waiting and flow.bucket <= limit]
        return sorted(ready, key=lambda flow: (flow.virtual_time, flow.bucket))

    def _nearby(self, flow: _Flow[T]) -> list[_Flow[T]]:
        """The flow itself, then those of shorter items, which it pads: the longest first."""
        shorter = [
            other
            for other in self._flows.values()
            if other.waiting and other.bucket <= flow.bucket and other.per_token == flow.per_token
        ]
        shorter.sort(key=lambda other: (other is not flow, -other.bucket, other.virtual_time))
        return shorter

    def _pop(self, flow: _Flow[T]) -> None:
        tokens, _ = flow.waiting.popleft()
        self._items -= 1
        self._tokens -= tokens


def _pads_little(computed_tokens: int, given_tokens: int) -> bool:
    padding = computed_tokens - given_tokens
    return padding <= NEGLIGIBLE_PADDING_TOKENS or computed_tokens <= MAX_PADDING_RATIO * given_tokens
