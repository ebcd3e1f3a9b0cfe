"""Blocked attention for layers that read only a window around each token (ModernBERT's local layers).

Masking a dense L × L product computes every score and discards nearly all: at 8,192 tokens and a window of 128 that is
98 % of the work. Here queries are cut into blocks as long as the window reaches to either side, and each block
attends to itself and the two beside it, which hold every key in the window: O(L × window) work and memory, exact.

It is registered through transformers' interfaces for attention and for masks, so the model's code stays as it is. The
mask function computes once per forward what depends on the lengths alone: which positions form a block, and which
query sees which key. The layers receive it as their ``attention_mask``. Global layers of the same model get plain
scaled-dot-product attention with a (B, 1, 1, T) key mask, so no L × L mask is built for them either.

It supports encoders at inference: no causal masks, dropout, caches or packed sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

ADAPTIVE: Final = "trivet_banded"
"""Name of the attention implementation to run in torch. It takes the dense form for short batches."""
ALWAYS_BLOCKED: Final = "trivet_banded_always"
"""Name of the implementation to export. Its graph does not depend on the length with which it was traced."""

DENSE_UP_TO_TOKENS: Final = 256
"""Up to this length the dense form is faster in torch: two or three blocks save less than the regrouping costs."""


class BlockedMask(NamedTuple):
    """How T positions form N blocks of S queries with 3·S keys each, and which query may see which key."""

    query_index: Tensor
    """(N·S,) the position behind each query slot; slots past the end repeat the last position."""
    key_index: Tensor
    """(N·3·S,) the position behind each key slot; slots beyond either end repeat the nearest position."""
    attn_mask: Tensor
    """(B·heads, N, S, 3·S) boolean, True where a query may look."""


@dataclass(frozen=True)
class BandedAttention:
    """An attention function and its mask function, as transformers' interfaces call them."""

    dense_up_to_tokens: int

    def mask(
        self,
        batch_size: int,
        q_length: int,
        kv_length: int,
        attention_mask: Tensor | None = None,
        local_size: int | None = None,
        config: Any = None,
        device: torch.device | str = "cpu",
        **_unused: Any,
    ) -> Tensor | BlockedMask | None:
        """Build the mask of one kind of layer; transformers' ``create_bidirectional_*_mask`` calls it once per forward.

        Args:
            batch_size: B.
            q_length: T.
            kv_length: T as well; there is no cache.
            attention_mask: (B, T) boolean, True at tokens, or None where nothing is padded.
            local_size: how many tokens to either side a query sees; None for global layers.
            config: the model's configuration, for its number of heads.
            device: where to build the mask if there is no attention_mask.

        Returns:
            An argument for :meth:`attend`. For global layers it is (B, 1, 1, T), or None where nothing is padded; for
            local layers (B, 1, T, T) or a :class:`BlockedMask`, by length.
        """
        if local_size is None:
            return None if attention_mask is None else attention_mask[:, None, None, :]  # (B, 1, 1, T)
        if attention_mask is None:
            attention_mask = torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)  # (B, T)
        # Exporters trace the length as a symbol. With a limit of 0 it is never compared, so the graph is right for all.
        if self.dense_up_to_tokens and q_length <= self.dense_up_to_tokens:
            return dense_local_mask(attention_mask, sliding_window=local_size)
        return blocked_local_mask(attention_mask, sliding_window=local_size, heads=config.num_attention_heads)

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | BlockedMask | None,
        *,
        scaling: float | None = None,
        dropout: float = 0.0,
        **_unused: Any,
    ) -> tuple[Tensor, None]:
        """Compute one layer's attention: q, k, v (B, heads, T, D) → ((B, T, heads, D), None)."""
        if dropout:
            raise ValueError("banded attention is for inference; the model is in training mode")
        if isinstance(attention_mask, BlockedMask):
            attn_output = blocked_attention(query, key, value, attention_mask, scale=scaling)
        else:
            attn_output = functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
        return attn_output.transpose(1, 2).contiguous(), None  # (B, T, heads, D)


def dense_local_mask(tokens_mask: Tensor, sliding_window: int) -> Tensor:
    """(B, T) boolean → (B, 1, T, T): tokens at most ``sliding_window`` away; where there are none, the position itself.

    A position that is masked has a state too: late interaction counts those that fill a query up.
    """
    position = torch.arange(tokens_mask.shape[1], device=tokens_mask.device)  # (T,)
    distance = (position[:, None] - position[None, :]).abs()  # (T, T)
    near = tokens_mask[:, None, :] & (distance <= sliding_window)  # (B, T, T)
    return _or_itself(near, distance)[:, None]


def _or_itself(near: Tensor, distance: Tensor) -> Tensor:
    """Let a query that sees nothing see itself: of a softmax over nothing a NaN would spread to other tokens."""
    return near | ((distance == 0) & ~near.any(dim=-1, keepdim=True))


def blocked_local_mask(tokens_mask: Tensor, sliding_window: int, heads: int) -> BlockedMask:
    """(B, T) boolean → the same rule as :func:`dense_local_mask`, for blocks of S = ``sliding_window`` queries."""
    tokens, device, size = tokens_mask.shape[1], tokens_mask.device, sliding_window
    blocks = (tokens + size - 1) // size  # N
    first = torch.arange(blocks, device=device)[:, None] * size  # (N, 1), where each block begins
    query_at = first + torch.arange(size, device=device)  # (N, S)
    key_at = first + torch.arange(-size, 2 * size, device=device)  # (N, 3S)
    exists = (key_at >= 0) & (key_at < tokens)  # (N, 3S)
    key_index = key_at.clamp(0, tokens - 1).flatten()  # (N·3S,)
    is_token = tokens_mask.index_select(1, key_index).unflatten(1, key_at.shape) & exists
    distance = (torch.arange(size, device=device)[:, None] + size - torch.arange(3 * size, device=device)).abs()
    attn_mask = _or_itself(is_token[:, :, None, :] & (distance <= size), distance)  # (B, N, S, 3S)
    return BlockedMask(
        query_index=query_at.clamp(max=tokens - 1).flatten(),
        key_index=key_index,
        attn_mask=attn_mask[:, None].expand(-1, heads, -1, -1, -1).flatten(0, 1),
    )


def blocked_attention(query: Tensor, key: Tensor, value: Tensor, mask: BlockedMask, *, scale: float | None) -> Tensor:
    """q, k, v (B, heads, T, D) → (B, heads, T, D).

    Slots that repeat a position are masked (keys) or dropped at the end (queries). Blocks take the place of heads, and
    heads that of the batch, so that any fused kernel for (batch, heads, queries, keys) applies.
    """
    # index_select, not x[:, :, index]: the latter exports as a gather between two transposes.
    batch, heads, tokens, head_size = query.shape
    pairs, blocks, size, reachable = mask.attn_mask.shape  # B·heads, N, S, 3S
    q = query.index_select(2, mask.query_index).reshape(pairs, blocks, size, head_size)
    k = key.index_select(2, mask.key_index).reshape(pairs, blocks, reachable, head_size)
    v = value.index_select(2, mask.key_index).reshape(pairs, blocks, reachable, head_size)
    attn_output = functional.scaled_dot_product_attention(q, k, v, mask.attn_mask, scale=scale)  # (B·heads, N, S, D)
    return attn_output.reshape(batch, heads, blocks * size, head_size)[:, :, :tokens]


def register() -> None:
    """Register :data:`ADAPTIVE` and :data:`ALWAYS_BLOCKED` with transformers. Calling it again changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    for name, attention in (
        (ADAPTIVE, BandedAttention(dense_up_to_tokens=DENSE_UP_TO_TOKENS)),
        (ALWAYS_BLOCKED, BandedAttention(dense_up_to_tokens=0)),
    ):
        attend: Callable[..., Any] = attention.attend
        mask: Callable[..., Any] = attention.mask
        AttentionInterface.register(name, attend)
        AttentionMaskInterface.register(name, mask)
