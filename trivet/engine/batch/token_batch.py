"""Model inputs as views of tokens, the batch that one forward makes of them, and the forms that graphs read.

A sequence holds views into token arrays that its request owns. A premise that is read beside forty hypotheses is
therefore stored once; its ids are copied only when a batch is built. A batch lays sequences end to end; the padded and
the binned form are derived from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trivet.engine.batch.layout import pack
from trivet.engine.text.tokenizer import Ids, SpecialTokens

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One model input: its token ids are `views`, one after another. From view `type_1_from` on, token types are 1."""

    views: tuple[Ids, ...]
    type_1_from: int
    tokens: int
    unseen: int = 0
    """How many tokens at the end no other token attends to. They attend to the others, and so have states."""

    def ids(self) -> Ids:
        """Copy the whole input into one array, (tokens,)."""
        return np.concatenate(self.views)

    def first_type_1(self) -> int:
        """Return the position of the first token of type 1, or `tokens` where there is none."""
        return sum(len(view) for view in self.views[: self.type_1_from])


def single_sequence(special: SpecialTokens, *content: Ids) -> TokenSequence:
    """Wrap one text, given as one or more arrays of ids, in the model's special tokens."""
    views = (special.single_prefix, *content, special.single_suffix)
    return TokenSequence(views, len(views), sum(len(view) for view in views))


def whole_sequence(ids: Ids) -> TokenSequence:
    """Make a model input of ids that have their special tokens already."""
    return TokenSequence((ids,), 1, len(ids))


def pair_sequence(special: SpecialTokens, first: tuple[Ids, ...], second: Ids) -> TokenSequence:
    """Wrap two texts in the model's special tokens; the first may be given as several arrays of ids."""
    head = (special.pair_prefix, *first, special.pair_middle)
    views = (*head, second, special.pair_suffix)
    type_1_from = len(head) if special.has_type_ids else len(views)
    return TokenSequence(views, type_1_from, sum(len(view) for view in views))


@dataclass(frozen=True)
class TokenBatch:
    """N tokens of S sequences, one sequence after another, without padding."""

    ids: Int32s
    """(N,)"""
    token_types: Int32s
    """(N,): 1 in the second text of a pair where the model distinguishes the two, else 0."""
    positions: Int32s
    """(N,): from 0 within each sequence."""
    cu_seqlens: Int32s
    """(S + 1,): sequence s is the tokens from `cu_seqlens[s]` up to `cu_seqlens[s + 1]`."""
    max_len: int
    """Tokens of the longest sequence."""
    pad_id: int = 0
    """Token id that fills up the padded form."""
    unseen: tuple[int, ...] = ()
    """Of each sequence, how many tokens at its end no other token attends to; empty: none of any. Only the padded form
    can have some."""
    per_token: bool = False
    """Whether a forward gives numbers for each token instead of each sequence."""

    @classmethod
    def of(
        cls,
        ids: Sequence[Ids],
        *,
        types_from: Sequence[int] | None = None,
        pad_id: int = 0,
        unseen: Sequence[int] = (),
        per_token: bool = False,
    ) -> Self:
        """Lay sequences end to end.

        Args:
            ids: of each sequence, at least one.
            types_from: where token type 1 begins in each sequence; None: nowhere.
            pad_id: see the field.
            unseen: see the field.
            per_token: see the field.
        """
        lengths = [len(one) for one in ids]
        cu_seqlens = np.zeros(len(ids) + 1, dtype=np.int32)
        np.cumsum(lengths, out=cu_seqlens[1:])
        positions = np.arange(cu_seqlens[-1], dtype=np.int32) - np.repeat(cu_seqlens[:-1], lengths)  # (N,)
        types_from = lengths if types_from is None else types_from
        return cls(
            ids=np.concatenate(ids),
            token_types=(positions >= np.repeat(types_from, lengths)).astype(np.int32),
            positions=positions,
            cu_seqlens=cu_seqlens,
            max_len=max(lengths),
            pad_id=pad_id,
            unseen=tuple(unseen) if any(unseen) else (),
            per_token=per_token,
        )

    @property
    def tokens(self) -> int:
        """N, without padding."""
        return len(self.ids)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each of the S sequences."""
        return tuple(np.diff(self.cu_seqlens).tolist())

    def padded(self) -> dict[str, Int64s]:
        """Lay each sequence in a row, padded on the right to the longest.

        Returns:
            By name: `input_ids`, `attention_mask` (1 at tokens that others attend to) and `token_type_ids`, each
            (S, max_len).
        """
        is_token = self.is_token
        seen = is_token
        if self.unseen:
            seen = np.arange(self.max_len) < (np.diff(self.cu_seqlens) - np.array(self.unseen))[:, None]
        ids = np.full(is_token.shape, self.pad_id, dtype=np.int64)
        types = np.zeros(is_token.shape, dtype=np.int64)
        ids[is_token], types[is_token] = self.ids, self.token_types
        return {"input_ids": ids, "attention_mask": seen.astype(np.int64), "token_type_ids": types}

    @property
    def is_token(self) -> NDArray[np.bool_]:
        """(S, max_len): which places of the padded form hold a token."""
        return np.arange(self.max_len) < np.diff(self.cu_seqlens)[:, None]

    def binned(self) -> dict[str, Int64s]:
        """Lay the sequences side by side in bins; see `trivet.engine.openvino.export.packed.PackedModel`.

        Returns:
            By name: `input_ids`, `positions`, `sequence_ids` and `token_type_ids`, each (bins, width), and
            `first_token_indices` (S,). Unused places of a bin hold a valid token of sequence S, which does not exist.
        """
        assert not self.unseen, "only the padded form can have tokens that nothing attends to"
        bins = pack(self.lengths)
        first = np.empty(len(self.lengths), dtype=np.int64)  # (S,): where each sequence begins in the flattened bins
        for at, indices in enumerate(bins.sequences):
            end = at * bins.width
            for index in indices:
                first[index], end = end, end + self.lengths[index]
        places = np.repeat(first - self.cu_seqlens[:-1], self.lengths) + np.arange(self.tokens)  # (N,)

        def laid_out(values: Int32s | Int64s, filler: int) -> Int64s:
            array = np.full(bins.tokens, filler, dtype=np.int64)
            array[places] = values
            return array.reshape(-1, bins.width)

        return {
            "input_ids": laid_out(self.ids, int(self.ids[0])),
            "positions": laid_out(self.positions, 0),
            "sequence_ids": laid_out(np.repeat(np.arange(len(self.lengths)), self.lengths), len(self.lengths)),
            "first_token_indices": first,
            "token_type_ids": laid_out(self.token_types, 0),
        }

    def halves(self) -> tuple["TokenBatch", "TokenBatch"]:
        """Split between two sequences, as near to the middle of the tokens as possible.

        Raises:
            ValueError: there is only one sequence.
        """
        if len(self.lengths) < 2:
            raise ValueError("a batch of one sequence has no halves")
        distances = np.abs(2 * self.cu_seqlens[1:-1] - self.tokens)
        cut = 1 + int(distances.argmin())
        return self._part(0, cut), self._part(cut, len(self.lengths))

    def _part(self, first: int, end: int) -> "TokenBatch":
        """Sequences `first` to `end`, as views."""
        boundaries = self.cu_seqlens[first : end + 1]
        tokens = slice(int(boundaries[0]), int(boundaries[-1]))
        return TokenBatch(
            ids=self.ids[tokens],
            token_types=self.token_types[tokens],
            positions=self.positions[tokens],
            cu_seqlens=boundaries - boundaries[0],
            max_len=max(self.lengths[first:end]),
            pad_id=self.pad_id,
            unseen=self.unseen[first:end],
            per_token=self.per_token,
        )


def build_batch(
    sequences: Sequence[TokenSequence], pad_id: int, *, per_token: bool = False
) -> tuple[TokenBatch, list[int]]:
    """Lay sequences end to end; equal ones are computed once.

    Returns:
        The batch of distinct sequences, and for every given sequence its index in that batch.
    """
    distinct: dict[tuple[bytes, int, int], int] = {}
    where: list[int] = []
    ids: list[Ids] = []
    types_from: list[int] = []
    unseen: list[int] = []
    for sequence in sequences:
        sequence_ids = sequence.ids()
        first_type_1 = sequence.first_type_1()
        index = distinct.setdefault((sequence_ids.tobytes(), first_type_1, sequence.unseen), len(ids))
        if index == len(ids):
            ids.append(sequence_ids)
            types_from.append(first_type_1)
            unseen.append(sequence.unseen)
        where.append(index)
    return TokenBatch.of(ids, types_from=types_from, pad_id=pad_id, unseen=unseen, per_token=per_token), where
