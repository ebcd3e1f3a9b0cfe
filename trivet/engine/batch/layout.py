"""The ways in which a forward can lay out sequences of different lengths, and how many tokens each computes. Pure."""

from collections.abc import Sequence
from typing import Final, Protocol

from trivet.engine.batch.packing import pack


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
