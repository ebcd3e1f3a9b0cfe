"""The ways in which a forward can lay out sequences of different lengths, and how many tokens each computes. Pure.

A packed graph (`trivet.engine.openvino.export.packed`) computes B bins of one width, each of which holds several
sequences. Wide bins are filled better, narrow ones cost less attention. The width chosen is the one at which the batch
at hand costs least.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

WIDEST = 512
"""Bins are wider only for a sequence that is longer."""
STEPS = ((64, 16), (128, 32))
"""Widths up to the first number are multiples of the second; wider ones are multiples of `WIDEST_STEP`. A kernel is
compiled for every shape that occurs, at the cost of 20 to 80 tokens."""
WIDEST_STEP = 64
ATTENTION_PER_WIDTH = 1 / 2000
"""Additional cost of a token per token of its bin's width, relative to a token in a bin of width 0 (bench/LOG.md)."""


class Layout(Protocol):
    """How a backend lays out the sequences of one forward."""

    @property
    def mixes_lengths(self) -> bool:
        """Whether sequences of any lengths share a forward at no cost; otherwise the shorter ones are padded."""

    def cost(self, lengths: Sequence[int]) -> int:
        """Return the tokens that a forward over sequences of these lengths computes, padding included."""

    def filled(self, count: int, longest: int, total: int) -> int:
        """Estimate the cost in constant time, for a batch that grows by one sequence after another.

        Args:
            count: sequences in the batch.
            longest: tokens of the longest of them.
            total: tokens of all of them.
        """


class _Padded:
    """Each sequence is padded to the longest."""

    mixes_lengths = False

    def cost(self, lengths: Sequence[int]) -> int:
        return len(lengths) * max(lengths)

    def filled(self, count: int, longest: int, total: int) -> int:
        return count * longest


class _Binned:
    """Sequences share bins of one width. While a batch grows, its bins count as full; they are nearly so."""

    mixes_lengths = True

    def cost(self, lengths: Sequence[int]) -> int:
        return pack(tuple(lengths)).tokens

    def filled(self, count: int, longest: int, total: int) -> int:
        return total


class _Flat:
    """Sequences lie end to end."""

    mixes_lengths = True

    def cost(self, lengths: Sequence[int]) -> int:
        return sum(lengths)

    def filled(self, count: int, longest: int, total: int) -> int:
        return total


PADDED: Final[Layout] = _Padded()
BINNED: Final[Layout] = _Binned()
FLAT: Final[Layout] = _Flat()


@dataclass(frozen=True, slots=True)
class Bins:
    """Sequences by bin. Each bin lists the indices of its sequences in the order in which they lie there."""

    width: int
    sequences: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """Tokens that the forward computes: bins × width."""
        return self.width * len(self.sequences)

    @property
    def cost(self) -> float:
        """Cost of the forward, in tokens of a bin of width 0."""
        return self.tokens * (1 + ATTENTION_PER_WIDTH * self.width)


@lru_cache(maxsize=16)  # a forward's arrays and its report need the same bins
def pack(lengths: tuple[int, ...]) -> Bins:
    """Return the cheapest bins for sequences of these lengths."""
    narrowest = round_up(max(lengths))
    widest = max(narrowest, min(round_up(sum(lengths)), WIDEST))
    widths = {round_up(width) for width in range(narrowest, widest + 1, STEPS[0][1])}
    return min((_fill(lengths, width) for width in sorted(widths)), key=lambda bins: bins.cost)


def round_up(tokens: int) -> int:
    """Return the smallest permitted width that holds this many tokens."""
    step = next((step for most, step in STEPS if tokens <= most), WIDEST_STEP)
    return math.ceil(tokens / step) * step


def _fill(lengths: tuple[int, ...], width: int) -> Bins:
    """Best fit, longest first: each sequence goes where it leaves the least room."""
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [at for at, free in enumerate(room) if free >= lengths[index]]
        if fitting:
            at = min(fitting, key=lambda one: room[one])
        else:
            at = len(bins)
            bins.append([])
            room.append(width)
        bins[at].append(index)
        room[at] -= lengths[index]
    return Bins(width, tuple(map(tuple, bins)))
