"""Token data as flat arrays: written where the texts are, read where there is nothing but numpy. Pure.

A *piece* is a run of token ids that is stored once, however many rows contain it. A *row* is a list of pieces, with
`[CLS]` and `[SEP]` among them; a *group* is a run of rows that belong together. WordPiece never looks across white
space, so a text that is put together from pieces at blank lines has the tokens of the whole text.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CLS_PIECE, SEP_PIECE = 0, 1
"""The first two pieces of every pool."""
_PADDING_STEP = 8
"""Padded lengths are multiples of this: what the GPU's attention kernels want of a mask."""
_XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "pb": 1, "lp": 1, "lc": 3}]


@dataclass(frozen=True, slots=True)
class Pool:
    """Pieces one behind the other."""

    ids: Array  # (tokens,) uint16
    starts: Array  # (pieces + 1,) int64

    @property
    def lengths(self) -> Array:
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of numbers one behind the other."""

    values: Array
    starts: Array  # (lists + 1,) int64

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, chosen: Array) -> Ragged:
        """The lists `chosen`, in that order."""
        return Ragged(self.values[self.flat_index(chosen)], np.concatenate([[0], np.cumsum(self.sizes(chosen))]))

    def sizes(self, chosen: Array) -> Array:
        return self.starts[chosen + 1] - self.starts[chosen]

    def flat_index(self, chosen: Array) -> Array:
        """Positions in `values` of the numbers of the lists `chosen`."""
        sizes = self.sizes(chosen)
        ends = np.cumsum(sizes)
        return np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.starts[chosen] - (ends - sizes), sizes)


def joined(first: Ragged, second: Ragged) -> Ragged:
    """List by list, the numbers of `first` and then those of `second`."""
    of_first, of_second = np.diff(first.starts), np.diff(second.starts)
    starts = np.concatenate([[0], np.cumsum(of_first + of_second)])
    values = np.empty(starts[-1], dtype=first.values.dtype)
    for part, begins, sizes in ((first, starts[:-1], of_first), (second, starts[:-1] + of_first, of_second)):
        ends = np.cumsum(sizes)
        values[np.arange(ends[-1]) + np.repeat(begins - (ends - sizes), sizes)] = part.values
    return Ragged(values, starts)


def ragged(lists: Sequence[Sequence[int]], dtype: Any = np.int32) -> Ragged:
    """Put lists one behind the other."""
    starts = np.concatenate([[0], np.cumsum([len(each) for each in lists], dtype=np.int64)])
    return Ragged(np.array([value for each in lists for value in each], dtype=dtype), starts.astype(np.int64))


class PoolBuilder:
    """Collects pieces, each distinct one once."""

    def __init__(self, cls_id: int, sep_id: int) -> None:
        self._pieces: list[Array] = []
        self._known: dict[bytes, int] = {}
        self.add([cls_id])
        self.add([sep_id])

    def add(self, ids: Sequence[int]) -> int:
        """Return the number of the piece with these ids."""
        piece = np.asarray(ids, dtype=np.uint16)
        number = self._known.setdefault(piece.tobytes(), len(self._pieces))
        if number == len(self._pieces):
            self._pieces.append(piece)
        return number

    def pool(self) -> Pool:
        starts = np.concatenate([[0], np.cumsum([len(p) for p in self._pieces], dtype=np.int64)])
        return Pool(np.concatenate(self._pieces), starts.astype(np.int64))


@dataclass(frozen=True, slots=True)
class PaddedRows:
    """Rows as rectangles of token ids."""

    ids: Array  # (B, T) int32, padded with 0
    lengths: Array  # (B,) int64
    first_tokens: Array  # (B,) int64: tokens up to and with the first `[SEP]`


def pad_rows(pool: Pool, pieces: Ragged) -> PaddedRows:
    """Write out rows, given the pieces of each."""
    rows = len(pieces)
    piece_lengths = pool.lengths[pieces.values]  # (pieces,)
    ends = np.cumsum(piece_lengths)
    index = np.arange(ends[-1]) + np.repeat(pool.starts[pieces.values] - (ends - piece_lengths), piece_lengths)
    row_ends = ends[pieces.starts[1:] - 1]  # (B,)
    lengths = np.diff(row_ends, prepend=0)
    width = -(-int(lengths.max()) // _PADDING_STEP) * _PADDING_STEP
    ids = np.zeros((rows, width), dtype=np.int32)
    row_of_token = np.repeat(np.arange(rows), lengths)
    ids[row_of_token, np.arange(ends[-1]) - np.repeat(row_ends - lengths, lengths)] = pool.ids[index]
    # The first [SEP] of each row: its piece's end, counted from the row's start.
    separators = np.flatnonzero(pieces.values == SEP_PIECE)
    row_of_separator = np.searchsorted(pieces.starts, separators, side="right") - 1
    _, first_of_row = np.unique(row_of_separator, return_index=True)
    first_tokens = ends[separators[first_of_row]] - (row_ends - lengths)
    return PaddedRows(ids, lengths, first_tokens)


def row_lengths(pool: Pool, pieces: Ragged) -> Array:
    """Tokens of each row.  # (rows,)"""
    return np.add.reduceat(pool.lengths[pieces.values], pieces.starts[:-1])


def length_bucketed(
    group_rows: Array, group_tokens: Array, *, token_budget: int, rng: np.random.Generator, window: int = 8192
) -> list[Array]:
    """Plan one pass: group numbers, each list one batch of at most `token_budget` padded tokens.

    Args:
        group_rows: rows of each group.  # (G,)
        group_tokens: tokens of each group's longest row.  # (G,)
        token_budget: a group that alone exceeds it gets a batch to itself.
        rng: the order follows from it.
        window: groups that are sorted by length together.
    """
    order = rng.permutation(len(group_rows))
    batches: list[Array] = []
    for start in range(0, len(order), window):
        chunk = order[start : start + window]
        chunk = chunk[np.argsort(group_tokens[chunk], kind="stable")]
        padded = -(-group_tokens[chunk] // _PADDING_STEP) * _PADDING_STEP
        begin, rows = 0, 0
        for position, (more, width) in enumerate(zip(group_rows[chunk].tolist(), padded.tolist(), strict=True)):
            rows += more
            if rows * width > token_budget and position > begin:
                batches.append(chunk[begin:position])
                begin, rows = position, more
        batches.append(chunk[begin:])
    return [batches[i] for i in rng.permutation(len(batches))]


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays, compressed; offsets are stored as differences, which compress to almost nothing."""
    buffer = io.BytesIO()
    np.save(buffer, np.array(list(arrays)))
    for name, array in arrays.items():
        np.save(buffer, _narrowed(np.diff(array, prepend=0)) if name.endswith("starts") else array)
    path.write_bytes(lzma.compress(buffer.getvalue(), format=lzma.FORMAT_XZ, filters=_XZ_FILTERS))


def read_arrays(path: Path) -> dict[str, Array]:
    """Read what `write_arrays` wrote."""
    buffer = io.BytesIO(lzma.decompress(path.read_bytes()))
    arrays = {name: np.load(buffer) for name in np.load(buffer).tolist()}
    return {name: np.cumsum(a, dtype=np.int64) if name.endswith("starts") else a for name, a in arrays.items()}


def _narrowed(differences: Array) -> Array:
    kind = np.uint16 if len(differences) == 0 or differences.max() < 2**16 else np.uint32
    return differences.astype(kind)
