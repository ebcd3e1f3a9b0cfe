"""Attention over sequences laid end to end, handed to the modules from outside.

An :class:`Attention` is chosen once per model. Called with the boundaries of a batch it gives an :class:`Attend`,
which every layer of that forward calls with its queries, keys and values: what depends on the boundaries alone (masks,
indices) is made once. Two exist, and they agree:

- :class:`VarlenAttention`: FlashAttention's kernel for sequences of different lengths. No padding, no masks. CUDA of
  compute capability 8.0 and above, 16 bits.
- :class:`PaddedAttention`: queries, keys and values are unpacked to (S, h, longest, D) and packed again; everything
  around attention stays flat. For GPUs before Ampere, for fp32, and for the CPU.

How far a token sees is a :class:`Reach`: all of its sequence, only what lies before it (causal), or a window of either.
Windows of the latter run in blocks, :func:`attend_in_blocks`, which costs O(N × reach) whatever the lengths are.

Keys and values may have fewer heads than queries: head i of h reads head i · g // h of g.

Neither waits for the device: sizes come from shapes and from numbers that the host knows. What they do *not* do:
dropout, caches.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from trivet.checkpoint import gpu_form
from trivet.config import GpuDtype
from trivet.engine.models.spans import FlatSpans
from trivet.errors import ModelError

AttentionKind = Literal["auto", "varlen", "padded"]


class Reach(NamedTuple):
    """How many tokens of its sequence a token sees before and behind it, besides itself; None: all there are."""

    before: int | None = None
    after: int | None = None

    def within(self, longest: int) -> Reach:
        """Drop the bounds that no sequence of up to so many tokens reaches."""
        return Reach(*(None if bound is not None and bound >= longest - 1 else bound for bound in self))


Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, Reach], Tensor]
"""``attend(q (N, h, D), k (N, g, D), v (N, g, D), reach) -> mixed (N, h, D)``; no token sees another sequence."""

_DTYPES: Final[dict[torch.dtype, GpuDtype]] = {
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float32: "fp32",
}


class Attention(Protocol):
    """Makes what the layers of one forward attend with."""

    def __call__(self, spans: FlatSpans) -> Attend:
        """Prepare for a batch."""


def choose_attention(kind: AttentionKind, device: torch.device, dtype: torch.dtype, head_size: int) -> Attention:
    """The fastest attention that this device, dtype and head size allow, or the one asked for.

    Raises:
        ModelError: `varlen` is asked for and cannot run here; the message says why.
    """
    if kind == "padded":
        return PaddedAttention()
    reason = varlen_refusal(device, dtype, head_size)
    if reason is None:
        return VarlenAttention()
    if kind == "varlen":
        raise ModelError(f"variable-length attention cannot run here: {reason}; padded attention can")
    return PaddedAttention()


def varlen_refusal(device: torch.device, dtype: torch.dtype, head_size: int) -> str | None:
    """Why :class:`VarlenAttention` cannot run; None where it can."""
    if device.type != "cuda":
        return f"the device is {device.type}, not cuda"
    named = _DTYPES.get(dtype)
    if named is None:
        return f"the model computes in {dtype}"
    return gpu_form.varlen_refusal(torch.cuda.get_device_capability(device), named, head_size) or _varlen_missing()


def _varlen_missing() -> str | None:
    """What the installed torch lacks; its signature has grown from version to version."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen (2.11 has)"
    if "window_size" not in inspect.signature(varlen_attn).parameters:
        return f"torch {torch.__version__} knows no window_size in varlen_attn (2.11 does)"
    return None


class VarlenAttention:
    """See the module. ``max_len`` fixes the kernel's grid: a captured graph holds for any shorter sequences."""

    def __init__(self) -> None:
        # Here and not above: importing it registers operators, which the CPU lane does not need.
        from torch.nn.attention.varlen import varlen_attn

        self._kernel: Callable[..., Any] = varlen_attn
        self._shares_heads = "enable_gqa" in inspect.signature(varlen_attn).parameters  # 2.13 does, 2.11 does not

    def __call__(self, spans: FlatSpans) -> Attend:
        """See `Attention`."""
        kernel, bounds, longest = self._kernel, spans.cu_seqlens, spans.max_len

        def attend(query: Tensor, key: Tensor, value: Tensor, reach: Reach) -> Tensor:
            window = tuple(-1 if bound is None else bound for bound in reach)
            options: dict[str, Any] = {}
            if query.shape[1] != key.shape[1] and self._shares_heads:
                options["enable_gqa"] = True
            else:
                key, value = (_for_each_head(states, query.shape[1]) for states in (key, value))
            mixed: Tensor = kernel(query, key, value, bounds, bounds, longest, longest, window_size=window, **options)
            return mixed  # (N, h, D)

        return attend


class PaddedAttention:
    """See the module. Memory and work grow with sequences × longest: batches should hold similar lengths."""

    def __call__(self, spans: FlatSpans) -> Attend:
        """See `Attention`."""
        return _PaddedForward(spans)


class _PaddedForward:
    """One batch of :class:`PaddedAttention`."""

    def __init__(self, spans: FlatSpans) -> None:
        self._spans = spans
        self._shape = (spans.count, spans.max_len)  # (S, L)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, reach: Reach) -> Tensor:
        """See `Attend`."""
        key, value = (_for_each_head(states, query.shape[1]) for states in (key, value))
        before, after = reach.within(self._spans.max_len)
        if before is not None or after not in (None, 0):
            longest = self._spans.max_len
            bounds = (longest if bound is None else bound for bound in (before, after))
            return attend_in_blocks(query, key, value, self._spans.sequence_of_token, *bounds)
        q, k, v = (self._unpack(states) for states in (query, key, value))  # each (S, h, L, D)
        if after is None:
            mixed = functional.scaled_dot_product_attention(q, k, v, self._mask)
        else:
            # What lies past the end of a sequence lies behind all of its tokens, which therefore need no mask.
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(1, 2).flatten(0, 1).index_select(0, self._slot_of_token)

    def _unpack(self, states: Tensor) -> Tensor:
        """(N, h, D) → (S, h, L, D); slots past the end of a sequence repeat tokens of others, and are masked."""
        return states.index_select(0, self._token_of_slot).view(*self._shape, *states.shape[1:]).transpose(1, 2)

    @cached_property
    def _within(self) -> Tensor:
        """(L,) 0 … L - 1."""
        return torch.arange(self._spans.max_len, device=self._spans.cu_seqlens.device)

    @cached_property
    def _token_of_slot(self) -> Tensor:
        """(S·L,) the token behind each slot."""
        starts = self._spans.cu_seqlens[:-1, None]  # (S, 1)
        return (starts + self._within).clamp(max=self._spans.tokens - 1).flatten()

    @cached_property
    def _slot_of_token(self) -> Tensor:
        """(N,) the slot of each token; the last one for fillers, whose result is not read."""
        slot = self._spans.sequence_of_token * self._spans.max_len + self._spans.positions
        return slot.clamp(max=self._spans.count * self._spans.max_len - 1)

    @cached_property
    def _mask(self) -> Tensor:
        """(S, 1, 1, L) boolean, True at tokens. A sequence without any sees one slot: no softmax runs over nothing."""
        lengths = self._spans.cu_seqlens.diff().clamp(min=1)  # (S,)
        return (self._within < lengths[:, None])[:, None, None, :]


def _for_each_head(states: Tensor, heads: int) -> Tensor:
    """(N, g, D) → (N, h, D): each of the g for as many heads. Not all kernels of torch's attention share heads."""
    shared = heads // states.shape[1]
    return states if shared == 1 else states.repeat_interleave(shared, dim=1)


def attend_in_blocks(
    query: Tensor, key: Tensor, value: Tensor, sequence_of_token: Tensor, before: int, after: int
) -> Tensor:
    """Attention of tokens to those of their sequence in a window around them; q, k, v (N, h, D) → (N, h, D).

    The N tokens, whatever sequences they are of, are cut into blocks of R queries; each block attends to itself and to
    the tokens beside it that the window reaches. Exact, and O(N × R) in work and memory: a mask over N × N would
    compute every score and throw nearly all away.

    Args:
        query: rotated already, as `key` is.
        key: see `query`.
        value: see `query`.
        sequence_of_token: (N,), equal for tokens of one sequence, which lie side by side.
        before: tokens that a token sees before it.
        after: tokens that it sees behind it.
    """
    tokens, heads, size = query.shape
    device = query.device
    block = max(before, after, 1)  # R
    keys = before + block + after  # K, of one block
    blocks = (tokens + block - 1) // block  # n
    first = torch.arange(blocks, device=device)[:, None] * block  # (n, 1), where each block begins
    in_block, around = torch.arange(block, device=device), torch.arange(-before, block + after, device=device)
    query_at, key_at = first + in_block, first + around  # (n, R), (n, K)
    exists = (key_at >= 0) & (key_at < tokens)  # (n, K)
    # Slots beyond either end repeat the nearest token: as keys they are masked, as queries dropped at the end.
    query_at, key_at = query_at.clamp(max=tokens - 1), key_at.clamp(0, tokens - 1)
    behind = around - in_block[:, None]  # (R, K), how far a key lies behind a query
    of_query = sequence_of_token[query_at.flatten()].view(-1, block, 1)  # (n, R, 1)
    of_key = sequence_of_token[key_at.flatten()].view(-1, 1, keys)  # (n, 1, K)
    near = (of_query == of_key) & (behind >= -before) & (behind <= after) & exists[:, None, :]  # (n, R, K)
    # Every slot sees itself, so that no softmax runs over nothing.
    allowed = (near | (behind == 0))[:, None]  # (n, 1, R, K)
    q = query.index_select(0, query_at.flatten()).view(-1, block, heads, size).transpose(1, 2)  # (n, h, R, D)
    k, v = (
        states.index_select(0, key_at.flatten()).view(-1, keys, heads, size).transpose(1, 2) for states in (key, value)
    )  # each (n, h, K, D)
    mixed = functional.scaled_dot_product_attention(q, k, v, allowed)  # (n, h, R, D)
    return mixed.transpose(1, 2).reshape(-1, heads, size)[:tokens]
