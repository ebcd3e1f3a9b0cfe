"""Pools hidden states into one vector per sequence, as the checkpoint's sentence-transformers files say.

There is one formulation, over tokens in any arrangement: padded, in bins or end to end. `Boundaries` say which token
belongs to which sequence. Sums are matrix products, since gathering the tokens of each sequence would take
sequences × longest × hidden size numbers.

Vectors are not normalised here, because those of a long text's windows are averaged first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trivet.errors import ModelError


class Boundaries(NamedTuple):
    """Where S sequences lie among N tokens; all int64. Tokens of one sequence lie side by side."""

    sequence_ids: Tensor
    """(N,): the sequence of each token; S for a token of none, which must be finite."""
    positions: Tensor
    """(N,): from 0 within each sequence."""
    first_token_indices: Tensor
    """(S,)"""

    @classmethod
    def of_padded(cls, attention_mask: Tensor) -> Boundaries:
        """Return those of S sequences in rows of T tokens, padded on the right; ``attention_mask`` is (S, T)."""
        count, width = attention_mask.shape
        numbers = torch.arange(count, device=attention_mask.device)  # (S,)
        positions = torch.arange(width, device=attention_mask.device)  # (T,)
        sequence_ids = torch.where(attention_mask.bool(), numbers[:, None], count)  # (S, T)
        return cls(sequence_ids.flatten(), positions.repeat(count), numbers * width)

    @classmethod
    def of_flat(cls, cu_seqlens: Tensor, tokens: int) -> Boundaries:
        """Return those of sequences laid end to end.

        Args:
            cu_seqlens: (S + 1,): sequence s is the tokens from ``cu_seqlens[s]`` up to ``cu_seqlens[s + 1]``.
            tokens: N; tokens after the last sequence belong to none.
        """
        ends = cu_seqlens[1:].long()  # (S,)
        first = cu_seqlens[:-1].long()  # (S,)
        places = torch.arange(tokens, device=cu_seqlens.device)  # (N,)
        sequence_ids = torch.bucketize(places, ends, right=True)  # (N,)
        return cls(sequence_ids, places - first[sequence_ids.clamp(max=len(first) - 1)], first)


class Pooling(nn.Module):
    """``forward(tokens (N, H), boundaries) -> (S, modes · H) fp32``, modes side by side."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        unknown = [mode for mode in modes if mode not in _POOLERS]
        if unknown or not modes:
            raise ModelError(
                f"pooling mode {', '.join(unknown) or '(none)'} is not supported: {', '.join(_POOLERS)} are"
            )
        self.modes = modes

    def forward(self, tokens: Tensor, boundaries: Boundaries) -> Tensor:
        """Pooled vectors; sums run in fp32 whatever the dtype of the hidden states."""
        return torch.cat([_POOLERS[mode](tokens.float(), boundaries) for mode in self.modes], dim=-1)


class PooledHead(nn.Module):
    """Pooling, and layers over the pooled vector: ``forward(tokens (N, H), boundaries) -> (S, outputs) fp32``."""

    def __init__(self, pooling: Pooling, steps: nn.Module) -> None:
        super().__init__()
        self.pooling, self.steps = pooling, steps

    def forward(self, tokens: Tensor, boundaries: Boundaries) -> Tensor:
        """See the class."""
        outputs: Tensor = self.steps(self.pooling(tokens, boundaries))
        return outputs


def _members(at: Boundaries) -> Tensor:
    """(S, N) fp32: 1 where the token belongs to the sequence."""
    count = at.first_token_indices.shape[0]
    numbers = torch.arange(count, device=at.sequence_ids.device)  # (S,)
    return (at.sequence_ids[None, :] == numbers[:, None]).float()


def _lengths(members: Tensor) -> Tensor:
    return members.sum(dim=1, keepdim=True).clamp(min=1.0)  # (S, 1)


def _cls(tokens: Tensor, at: Boundaries) -> Tensor:
    return tokens[at.first_token_indices]


def _max(tokens: Tensor, at: Boundaries) -> Tensor:
    count = at.first_token_indices.shape[0]
    largest = torch.full((count + 1, tokens.shape[1]), float("-inf"), device=tokens.device)  # one row for no sequence
    index = at.sequence_ids[:, None].expand(-1, tokens.shape[1])  # (N, H)
    return largest.scatter_reduce(0, index, tokens, "amax")[:count]


def _mean(tokens: Tensor, at: Boundaries) -> Tensor:
    members = _members(at)
    return members @ tokens / _lengths(members)


def _mean_sqrt_len(tokens: Tensor, at: Boundaries) -> Tensor:
    members = _members(at)
    return members @ tokens / _lengths(members).sqrt()


def _weighted_mean(tokens: Tensor, at: Boundaries) -> Tensor:
    """Token t (from 1) weighs t: later tokens of a causal model have seen more."""
    members, weights = _members(at), (at.positions + 1).float()[:, None]  # (S, N), (N, 1)
    return members @ (tokens * weights) / (members @ weights).clamp(min=1.0)


def _last_token(tokens: Tensor, at: Boundaries) -> Tensor:
    lengths = _lengths(_members(at))[:, 0].long()  # (S,)
    return tokens[at.first_token_indices + lengths - 1]


_POOLERS: dict[str, Callable[[Tensor, Boundaries], Tensor]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}
