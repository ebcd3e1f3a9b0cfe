"""Where each sequence lies among the tokens of a batch, and reductions of token states over each sequence.

There is one interface and two implementations. The flat modules have :class:`FlatSpans`: sequences end to end, and
every token in a sequence. :class:`BinSpans` are rows of one width: bins that several sequences share, in the OpenVINO
export, or one padded sequence per row. Reductions run in fp32 whatever the states' dtype. None of them waits for the
device, since no size depends on a value.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor


class Spans(Protocol):
    """S sequences among N tokens; ``states`` are (N, H), results (S, H) fp32."""

    @property
    def lengths(self) -> Tensor:
        """(S, 1) fp32, at least 1."""

    def first(self, states: Tensor) -> Tensor:
        """The state of each sequence's first token."""

    def last(self, states: Tensor) -> Tensor:
        """The state of each sequence's last token."""

    def sum(self, states: Tensor) -> Tensor:
        """Sums over each sequence's tokens."""

    def rising_sum(self, states: Tensor) -> Tensor:
        """Sums in which token t (from 1) counts t times."""

    def max(self, states: Tensor) -> Tensor:
        """Channel by channel, the largest over each sequence's tokens."""


class FlatSpans:
    """Sequences laid end to end: sequence s holds the tokens from ``cu_seqlens[s]`` to ``cu_seqlens[s + 1]``.

    A caller that pads a batch to a fixed number of tokens puts the fillers into one more sequence, which may be longer
    than `max_len`; to reach a fixed number of sequences it adds sequences without tokens, by repeating the last
    boundary. The results of both kinds are meaningless; those of the other sequences do not depend on them.
    """

    def __init__(self, cu_seqlens: Tensor, max_len: int, positions: Tensor) -> None:
        """Take the boundaries of a batch.

        Args:
            cu_seqlens: (S + 1,) int32, rising from 0 to N.
            max_len: tokens of the longest sequence, known to the host, or any larger number.
            positions: (N,) of each token within its sequence, from 0.
        """
        self.cu_seqlens = cu_seqlens
        self.max_len = max_len
        self.positions = positions
        self.tokens = positions.shape[0]
        self.count = cu_seqlens.shape[0] - 1

    @cached_property
    def sequence_of_token(self) -> Tensor:
        """(N,) int64: the number of each token's sequence."""
        token = torch.arange(self.tokens, dtype=self.cu_seqlens.dtype, device=self.cu_seqlens.device)
        return torch.searchsorted(self.cu_seqlens[1:].contiguous(), token, right=True)

    @cached_property
    def lengths(self) -> Tensor:
        """See `Spans`."""
        return self.cu_seqlens.diff().clamp(min=1).float()[:, None]

    def first(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return states.index_select(0, self.cu_seqlens[:-1].clamp(max=self.tokens - 1)).float()

    def last(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return states.index_select(0, (self.cu_seqlens[1:] - 1).clamp(min=0)).float()

    def sum(self, states: Tensor) -> Tensor:
        """See `Spans`. On CUDA the order of the additions is not fixed, so the last bits of fp32 may vary."""
        sums = torch.zeros(self.count + 1, states.shape[1], device=states.device)
        # One row more than sequences: a token past the last boundary must not fall on another sequence.
        return sums.index_add_(0, self.sequence_of_token, states.float())[: self.count]

    def rising_sum(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return self.sum(states.float() * (self.positions + 1)[:, None])

    def max(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        largest = torch.full((self.count + 1, states.shape[1]), -torch.inf, device=states.device)
        where = self.sequence_of_token[:, None].expand_as(states)
        return largest.scatter_reduce_(0, where, states.float(), "amax")[: self.count]


class BinSpans:
    """S sequences in B rows of width W, flattened to N = B·W tokens; sums are products with a membership matrix.

    That matrix is (S, N). Up to a few thousand tokens it costs less than a gather, and it exports. States of tokens
    that belong to no sequence must be finite.
    """

    def __init__(self, sequence_ids: Tensor, positions: Tensor, first_token_indices: Tensor) -> None:
        """Take the layout of a batch, as `trivet.engine.batch.token_batch.TokenBatch.binned` makes it.

        Args:
            sequence_ids: (B, W) int64, the sequence of each token; S for one of none.
            positions: (B, W) int64, of each token within its sequence, from 0.
            first_token_indices: (S,) int64, the place of each sequence's first token among the N.
        """
        self.sequence_ids = sequence_ids
        self.positions = positions
        self.first_token_indices = first_token_indices

    @classmethod
    def of_padded(cls, attention_mask: Tensor) -> Self:
        """Take one sequence per row, padded on the right; ``attention_mask`` is (S, W), 1 at tokens."""
        count, width = attention_mask.shape
        numbers = torch.arange(count, device=attention_mask.device)  # (S,)
        positions = torch.arange(width, device=attention_mask.device)  # (W,)
        sequence_ids = torch.where(attention_mask.bool(), numbers[:, None], count)  # (S, W)
        return cls(sequence_ids, positions.expand(count, -1), numbers * width)

    @cached_property
    def _members(self) -> Tensor:
        """(S, N) fp32: 1 where a token belongs to a sequence."""
        numbers = torch.arange(self.first_token_indices.shape[0], device=self.first_token_indices.device)  # (S,)
        return (self.sequence_ids.flatten()[None, :] == numbers[:, None]).float()

    @cached_property
    def lengths(self) -> Tensor:
        """See `Spans`."""
        return self._members.sum(dim=1, keepdim=True).clamp(min=1.0)

    def first(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return states.index_select(0, self.first_token_indices).float()

    def last(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        last = self.first_token_indices + self.lengths.flatten().to(torch.int64) - 1  # (S,)
        return states.index_select(0, last).float()

    def sum(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return self._members @ states.float()

    def rising_sum(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        # Not as weights of the membership: a graph that computes in bf16 would round every weight above 256.
        return self._members @ (states.float() * (self.positions.flatten() + 1)[:, None])

    def max(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        count = self.first_token_indices.shape[0]
        largest = torch.full((count + 1, states.shape[1]), -torch.inf, device=states.device)
        where = self.sequence_ids.flatten()[:, None].expand_as(states)  # (N, H)
        return largest.scatter_reduce(0, where, states.float(), "amax")[:count]
