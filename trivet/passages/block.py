"""The structure of a text, as blocks of whole lines within blocks: readers of formats produce it, `pack` uses it."""

from dataclasses import dataclass
from itertools import pairwise

from trivet.passages.passage import PassageKind

SCOPES = " › "
"""Between the titles of what encloses a passage."""


@dataclass(frozen=True, slots=True)
class Block:
    """The lines `first` to `stop` (excluded), counted from 0."""

    first: int
    stop: int
    kind: PassageKind
    title: str | None = None
    """What encloses those parts of the block that do not contain its first line."""
    blocks: tuple["Block", ...] = ()
    """Its parts, in order and without a gap from `first` to `stop`. Empty where the structure ends."""
    is_unit: bool = False
    """Whether it is about one thing, so that it is joined to what is beside it only if one of the two is tiny."""


def partition(first: int, stop: int, starts: list[int]) -> list[tuple[int, int]]:
    """Divides the lines `first` to `stop` at `starts`, which ascend; the first part begins at `first` in any case."""
    bounds = [first, *(start for start in starts if first < start < stop), stop]
    return list(pairwise(bounds))
