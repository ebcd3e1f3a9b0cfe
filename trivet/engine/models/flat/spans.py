"""Where each sequence lies among tokens laid end to end, and reductions of token states over each sequence.

Two layouts, one interface. Serving has :class:`FlatSpans`: boundaries, every token in a sequence. The OpenVINO export
has :class:`BinSpans`: sequences side by side in bins of one width, with fillers that belong to none. Reductions run in
fp32 whatever the states' dtype. None of them waits for the device: no size depends on a value.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

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
    """S sequences in B bins of width W, flattened to N = B·W tokens; sums are products with a membership matrix.

    That matrix is (S, N): for a graph of at most a few thousand tokens it costs less than a gather, and it exports.
    """

    def __init__(self, sequences: Tensor, positions: Tensor, firsts: Tensor) -> None:
        """Take the layout of a batch.

        Args:
            sequences: (B, W) int64, the number of each token's sequence, S for fillers.
            positions: (B, W) int64, of each token within its sequence, from 0.
            firsts: (S,) int64, the place of each sequence's first token among the N.
        """
        self.sequences = sequences
        self.positions = positions
        self.firsts = firsts

    @cached_property
    def _members(self) -> Tensor:
        """(S, N) fp32: 1 where a token is of a sequence."""
        number = torch.arange(self.firsts.shape[0], device=self.firsts.device)
        return (self.sequences.flatten()[None, :] == number[:, None]).float()

    @cached_property
    def lengths(self) -> Tensor:
        """See `Spans`."""
        return self._members.sum(dim=1, keepdim=True)

    def first(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return states.index_select(0, self.firsts).float()

    def last(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return states.index_select(0, self.firsts + self.lengths.flatten().to(torch.int64) - 1).float()

    def sum(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return self._members @ states.float()

    def rising_sum(self, states: Tensor) -> Tensor:
        """See `Spans`."""
        return (self._members * (self.positions.flatten() + 1)) @ states.float()

    def max(self, states: Tensor) -> Tensor:
        """Not in this layout: a maximum is no product, and gathering takes S × longest × H numbers.

        Raises:
            NotImplementedError: always; check `trivet.engine.models.flat.export.unexportable_reason` first.
        """
        raise NotImplementedError("max pooling has no form for bins")
