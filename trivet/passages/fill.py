"""Divides a sequence of small pieces into groups under a limit, where it hurts least. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trivet.passages.lines import Seam


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of the text that is not divided: a statement, a paragraph, a sentence, a line."""

    start: int
    end: int
    tokens: int
    seam: Seam
    """What a cut before it costs."""


def groups(items: Sequence[Item], max_tokens: int) -> Iterator[tuple[int, int]]:
    """Ranges of items, in order and without a gap. Each has at most `max_tokens`, or is a single item.

    A group takes between half the limit and all of it, and ends where the next item is cheapest to begin at, late
    rather than early. Where every cut there would tear something apart, it may end earlier: a short passage is better.
    The last two groups share what is left, so that no crumb remains. Linear in the number of items.
    """
    left = sum(item.tokens for item in items)
    start = 0
    while start < len(items):
        stop = _stop(items, start, left, max_tokens)
        left -= sum(item.tokens for item in items[start:stop])
        yield start, stop
        start = stop


def _stop(items: Sequence[Item], start: int, left: int, max_tokens: int) -> int:
    if left <= max_tokens:
        return len(items)
    taken = items[start].tokens
    stop = start + 1
    enough = stop if taken * 2 >= max_tokens else None
    # Of what fits into two groups, the first takes about half.
    most = min(max_tokens, (left + max_tokens // 4) // 2) if left <= 2 * max_tokens else max_tokens
    while stop < len(items) and taken + items[stop].tokens <= max(most, taken):
        taken += items[stop].tokens
        stop += 1
        if enough is None and taken * 2 >= most:
            enough = stop
    if stop == len(items):
        return stop
    earliest = min(enough or stop, stop)
    best = min(range(earliest, stop + 1), key=lambda at: (items[at].seam, -at))
    if items[best].seam[0]:
        best = min(range(start + 1, stop + 1), key=lambda at: (items[at].seam, -at))
    return best
