"""Cuts a long text into segments whose tokens, one segment after another, are those of the whole text. Pure.

A tokenizer holds some 400 bytes for every token of a text that it is given, several times more than for the same text
in segments. So no segment is longer than a bound, whatever its characters are.

- Where words end for every known kind of tokenizer, a text is simply cut.
- Where no word ends for long (Chinese, base64, one character a million times), two segments share some characters.
  The tokens of the first are kept up to a place in the shared part from which both have the same tokens, those of the
  second from there on. Without such a place the tokens around the cut may differ from those of the whole text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SEGMENT_CHARACTERS = 2**17
SHARED_CHARACTERS = 1024
_PARTS = 4
"""A segment that ends without a word's end is this much shorter: its tokens are needed with their places, which takes
more memory."""

_CUT = re.compile(r"(?<=[!-~]) ")
"""A cut is made before a space that follows printable ASCII. There words end for every known kind of tokenizer, and no
normaliser joins the characters on both sides. The space stays with the word that follows it."""

Int32s = NDArray[np.int32]


def cut_at_words(text: str) -> list[str]:
    """Cut a text at every place where a word ends for every known kind of tokenizer."""
    places = [0, *(place.start() for place in _CUT.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters `start` to `end` of a text, of which the first `shared` are also the end of the segment before."""

    start: int
    end: int
    shared: int = 0


def segments(
    text: str,
    characters: int = SEGMENT_CHARACTERS,
    *,
    at_words: bool = True,
    shared: int = SHARED_CHARACTERS,
) -> list[Segment]:
    """Cut a text into segments of at most twice `characters`.

    Args:
        text: any text.
        characters: a shorter text stays whole.
        at_words: cut where words end, if they do. False: the tokenizer was found to differ there.
        shared: of two segments, where no word ends.
    """
    found = []
    start = in_common = 0
    while len(text) - start > characters:
        beyond_shared = start + max(characters, in_common + 1)  # a segment ends after the one before
        place = _CUT.search(text, beyond_shared, start + 2 * characters) if at_words else None
        end = place.start() if place else start + max(characters // _PARTS, 2 * shared)
        if end >= len(text):
            break
        found.append(Segment(start, end, in_common))
        in_common = 0 if place else shared
        start = end - in_common
    return [*found, Segment(start, len(text), in_common)]


@dataclass(frozen=True, slots=True)
class Placed:
    """Tokens of one segment with the characters of the whole text that each covers, all (tokens,)."""

    ids: Int32s
    starts: Int32s
    ends: Int32s


def joint(first: Placed, second: Placed, start: int, end: int) -> tuple[int, int]:
    """Find where the tokens of two segments meet, which share the characters `start` to `end`.

    Returns:
        How many tokens of the first to keep, and the index of the first token of the second to keep.
    """
    margin = (end - start) // 4  # the tokens next to a cut are influenced by it
    low, high = start + margin, end - margin
    until_first, until_second = np.searchsorted(first.starts, high), np.searchsorted(second.starts, high)
    for place in np.intersect1d(_between(first.starts, low, high), _between(second.starts, low, high)):
        from_first, from_second = np.searchsorted(first.starts, place), np.searchsorted(second.starts, place)
        if np.array_equal(first.ids[from_first:until_first], second.ids[from_second:until_second]):
            return int(from_first), int(from_second)
    # A token that covers nearly all that is shared is one for a word without end, which the first has read already.
    beyond = np.flatnonzero((second.ends > end) & (second.starts > low))
    return len(first.ids), int(beyond[0]) if len(beyond) else len(second.ids)


def _between(values: Int32s, low: int, high: int) -> Int32s:
    return values[(values >= low) & (values < high)]


def batches(texts: Iterable[str], characters: int = SEGMENT_CHARACTERS) -> Iterator[list[str]]:
    """Group texts in their order. A group holds one text, or several of at most `characters` together."""
    batch: list[str] = []
    taken = 0
    for text in texts:
        if batch and taken + len(text) > characters:
            yield batch
            batch, taken = [], 0
        batch.append(text)
        taken += len(text)
    if batch:
        yield batch
