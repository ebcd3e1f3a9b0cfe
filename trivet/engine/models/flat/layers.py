"""Building blocks that the flat encoders share. Shapes: N tokens laid end to end, H channels, h heads of size D."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from trivet.checkpoint.flat.feed_forward import FeedForwardConfig
from trivet.checkpoint.flat.rotary import RotaryConfig
from trivet.engine.models.rotary import rotary_frequencies, rotary_table

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "gelu": functional.gelu,
    "gelu_python": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
    "tanh": torch.tanh,
}
"""Point-wise functions by transformers' names."""


class Angles(NamedTuple):
    """Cosines and sines of every token's rotary angles, each (N, D), NeoX layout: the second half repeats the first."""

    cos: Tensor
    sin: Tensor


class Rotary(nn.Module):
    """``forward(positions (N,), dtype) -> Angles``, looked up in fp32 tables; see `trivet.engine.models.rotary`."""

    cos: Tensor
    sin: Tensor

    def __init__(self, positions: int, head_size: int, config: RotaryConfig) -> None:
        super().__init__()
        with torch.device("cpu"):  # real values even while the parameters are built on the meta device
            cos, sin = rotary_table(positions, head_size, config)
        self.register_buffer("cos", cos, persistent=False)  # (P, D) fp32
        self.register_buffer("sin", sin, persistent=False)  # (P, D) fp32

    def forward(self, positions: Tensor, dtype: torch.dtype) -> Angles:
        """Rows of the table, rounded to the dtype of what they rotate, as transformers does."""
        return Angles(*(functional.embedding(positions, table).to(dtype) for table in (self.cos, self.sin)))


class ComputedRotary(nn.Module):
    """`Rotary` without a table, which for 131,072 positions would take 128 MiB. Not for graphs that are converted."""

    frequencies: Tensor

    def __init__(self, head_size: int, config: RotaryConfig) -> None:
        super().__init__()
        with torch.device("cpu"):  # see `Rotary`
            frequencies, self.amplitude = rotary_frequencies(head_size, config)
        self.register_buffer("frequencies", frequencies, persistent=False)  # (D/2,) fp32

    def forward(self, positions: Tensor, dtype: torch.dtype) -> Angles:
        """Compute in fp32, and round as `Rotary` does."""
        angles = positions.float()[:, None] * self.frequencies  # (N, D/2)
        angles = torch.cat((angles, angles), dim=-1)
        return Angles((angles.cos() * self.amplitude).to(dtype), (angles.sin() * self.amplitude).to(dtype))


class Projections(nn.Module):
    """Queries, keys and values of one layer, from one product; the first two rotated where angles are given.

    Rows of the weight are [all of q | all of k | all of v].
    """

    def __init__(self, hidden_size: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.head_size = hidden_size // heads
        self.joint = nn.Linear(hidden_size, 3 * hidden_size, bias=bias)

    def forward(self, x: Tensor, angles: Angles | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H) → q, k, v, each (N, h, D)."""
        qkv = self.joint(x).view(-1, 3, self.heads, self.head_size)
        if angles is None:
            query, key, value = qkv.unbind(1)
        else:
            query, key = turn(qkv[:, :2], angles).unbind(1)
            value = qkv[:, 2]
        return query, key, value


def turn(x: Tensor, angles: Angles) -> Tensor:
    """Rotate ``x`` (N, …, D) by angles of its dtype.

    Written by halves into the result: four passes over half of the numbers each, where the textbook form
    (`trivet.engine.models.rotary.rotate`) makes seven over all of them. On a GPU a rotation takes as long as a matrix
    product: with fp32 angles it took a quarter of a ModernBERT forward.
    """
    half = x.shape[-1] // 2
    shape = (-1, *(1,) * (x.ndim - 2), half)
    cos, sin = (table[:, :half].view(shape) for table in angles)  # each (N, …, D/2)
    first, second = x[..., :half], x[..., half:]
    turned = torch.empty_like(x, memory_format=torch.contiguous_format)
    torch.addcmul(first * cos, second, sin, value=-1, out=turned[..., :half])
    torch.addcmul(second * cos, first, sin, out=turned[..., half:])
    return turned


def add_product(x: Tensor, states: Tensor, linear: nn.Linear) -> Tensor:
    """Add ``linear(states)`` (N, H) to ``x``, in place, and return it.

    Without a bias the matrix product itself adds to what is there: one pass over the states less, and one rounding.
    """
    return x.addmm_(states, linear.weight.T) if linear.bias is None else x.add_(linear(states))


class RmsNorm(nn.Module):
    """``x / rms(x) · weight`` over the last dimension. Gemma's weights lie around 0, and 1 is added to them in fp32."""

    def __init__(self, size: int, eps: float, *, is_gemma: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps
        self.is_gemma = is_gemma

    def forward(self, x: Tensor) -> Tensor:
        """(…, size) → (…, size) of the same dtype."""
        if not self.is_gemma:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return functional.rms_norm(x.float(), self.weight.shape, 1.0 + self.weight.float(), self.eps).to(x.dtype)


class GatedFeedForward(nn.Module):
    """``outer(activation(inner(x)) * gate(x))``; `inner` and `gate` are one product.

    Its rows are [inner | gate], or [gate | inner] if the configuration says that the second half is activated.
    """

    def __init__(self, hidden_size: int, inner_size: int, config: FeedForwardConfig) -> None:
        super().__init__()
        self.joint = nn.Linear(hidden_size, 2 * inner_size, bias=config.inner_bias)
        self.outer = nn.Linear(inner_size, hidden_size, bias=config.outer_bias)
        self.activation = ACTIVATIONS[config.activation]
        self.activates_second = config.activates_second

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) → (N, H)."""
        out: Tensor = self.outer(self.gated(x))
        return out

    def gated(self, x: Tensor) -> Tensor:
        """(N, H) → (N, F): all but the last product."""
        inner, gate = self.joint(x).chunk(2, dim=-1)  # each (N, F)
        if self.activates_second:
            inner, gate = gate, inner
        return self.activation(inner).mul_(gate)  # in place: the peak of a forward is here


class FeedForward(nn.Module):
    """``outer(activation(inner(x)))``."""

    def __init__(self, hidden_size: int, inner_size: int, activation: str) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_size, inner_size)
        self.outer = nn.Linear(inner_size, hidden_size)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) → (N, H)."""
        out: Tensor = self.outer(self.activation(self.inner(x)))
        return out


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 and keeps fp32 weights, whatever the dtype of the body around it."""

    @classmethod
    def of(cls, linear: nn.Linear) -> Self:
        """Take over the weights of a layer, in fp32."""
        exact = cls(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        exact.load_state_dict({name: tensor.float() for name, tensor in linear.state_dict().items()}, assign=True)
        return exact

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) of any dtype → (…, out) fp32."""
        return functional.linear(input.float(), self.weight, self.bias)


def cut_linear(linear: nn.Linear, count: int) -> list[nn.Linear]:
    """Split a linear layer into several with equal shares of its outputs, in their order. Weights stay shared."""
    biases = [None] * count if linear.bias is None else list(linear.bias.chunk(count))
    cut = []
    for weight, bias in zip(linear.weight.chunk(count), biases, strict=True):
        part = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        part.weight = nn.Parameter(weight, requires_grad=False)
        part.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        cut.append(part)
    return cut
