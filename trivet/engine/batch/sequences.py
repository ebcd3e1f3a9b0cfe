"""Rows: model inputs before their forward, and the padded batch they become.

A row holds views into token arrays that its request owns, so a premise that meets forty hypotheses exists
once; the ids are copied together only when the row's batch is built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trivet.engine.batch.packing import Bins, pack
from trivet.engine.text.tokenizer import Ids, SpecialTokens

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """One model input: `segments` one after another, token type 1 from segment `type_1_from` on."""

    segments: tuple[Ids, ...]
    type_1_from: int
    tokens: int

    def ids(self) -> Ids:
        """The whole input, (tokens,)."""
        return np.concatenate(self.segments)

    def first_type_1(self) -> int:
        """Position of the first token of type 1; `tokens` where there is none."""
        return sum(len(segment) for segment in self.segments[: self.type_1_from])


def single_row(special: SpecialTokens, *content: Ids) -> Row:
    """Wrap one text, given in pieces."""
    segments = (special.single_prefix, *content, special.single_suffix)
    return Row(segments, len(segments), sum(len(segment) for segment in segments))


def pair_row(special: SpecialTokens, first: tuple[Ids, ...], second: Ids) -> Row:
    """Wrap two texts; the first may come in pieces."""
    head = (special.pair_prefix, *first, special.pair_middle)
    segments = (*head, second, special.pair_suffix)
    type_1_from = len(head) if special.has_type_ids else len(segments)
    return Row(segments, type_1_from, sum(len(segment) for segment in segments))


@dataclass(frozen=True)
class TokenBatch:
    """What a backend runs: `input_ids`, `attention_mask`, `token_type_ids`, each (rows, longest) int64."""

    input_ids: Int64s
    attention_mask: Int64s
    token_type_ids: Int64s
    useful_tokens: int

    @property
    def padded_tokens(self) -> int:
        """Rows × longest: what a forward costs that pads."""
        return int(self.input_ids.size)

    @cached_property
    def bins(self) -> Bins:
        """Which rows lie side by side in a forward that packs."""
        return pack(self.attention_mask.sum(axis=1).tolist())

    def padded_inputs(self) -> dict[str, Int64s]:
        """What a model reads whose rows are padded."""
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "token_type_ids": self.token_type_ids,
        }

    def packed_inputs(self) -> dict[str, Int64s]:
        """What a model reads whose rows lie in bins; see `trivet.engine.openvino.export.packed.PackedModel` for the
        shapes.
        """
        lengths = self.attention_mask.sum(axis=1).tolist()
        bins = self.bins
        shape = (len(bins.sequences), bins.width)
        # What fills a bin up is a token like any other, of a sequence that nobody reads.
        ids, types = np.full(shape, self.input_ids[0, 0]), np.zeros(shape, np.int64)
        positions, sequences = np.zeros(shape, np.int64), np.full(shape, len(lengths))
        firsts = np.zeros(len(lengths), np.int64)
        for at, indices in enumerate(bins.sequences):
            end = 0
            for index in indices:
                tokens = lengths[index]
                start, end = end, end + tokens
                ids[at, start:end] = self.input_ids[index, :tokens]
                types[at, start:end] = self.token_type_ids[index, :tokens]
                positions[at, start:end] = np.arange(tokens)
                sequences[at, start:end] = index
                firsts[index] = at * bins.width + start
        return {
            "input_ids": ids,
            "positions": positions,
            "sequences": sequences,
            "firsts": firsts,
            "token_type_ids": types,
        }

    def halves(self) -> tuple["TokenBatch", "TokenBatch"]:
        """Split by rows, for a retry after running out of memory; needs at least two rows."""
        middle = len(self.input_ids) // 2
        return self._rows(slice(None, middle)), self._rows(slice(middle, None))

    def _rows(self, rows: slice) -> "TokenBatch":
        mask = self.attention_mask[rows]
        longest = int(mask.sum(axis=1).max())
        return TokenBatch(
            self.input_ids[rows, :longest],
            mask[:, :longest],
            self.token_type_ids[rows, :longest],
            int(mask.sum()),
        )


def build_batch(rows: Sequence[Row], pad_id: int) -> tuple[TokenBatch, list[int]]:
    """Pad rows on the right; equal rows are run once.

    Returns the batch of distinct rows, and for every given row its index in that batch.
    """
    distinct: dict[tuple[bytes, int], int] = {}
    where: list[int] = []
    ids: list[Ids] = []
    type_1_starts: list[int] = []
    for row in rows:
        row_ids = row.ids()
        type_1_start = row.first_type_1()
        index = distinct.setdefault((row_ids.tobytes(), type_1_start), len(ids))
        if index == len(ids):
            ids.append(row_ids)
            type_1_starts.append(type_1_start)
        where.append(index)
    longest = max(len(row_ids) for row_ids in ids)
    input_ids = np.full((len(ids), longest), pad_id, dtype=np.int64)  # (B, T)
    attention_mask = np.zeros((len(ids), longest), dtype=np.int64)  # (B, T)
    token_type_ids = np.zeros((len(ids), longest), dtype=np.int64)  # (B, T)
    for index, (row_ids, type_1_start) in enumerate(zip(ids, type_1_starts, strict=True)):
        input_ids[index, : len(row_ids)] = row_ids
        attention_mask[index, : len(row_ids)] = 1
        token_type_ids[index, type_1_start : len(row_ids)] = 1
    useful = sum(len(row_ids) for row_ids in ids)
    return TokenBatch(input_ids, attention_mask, token_type_ids, useful), where
