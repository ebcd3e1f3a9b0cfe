"""Rotary position embedding: frequencies, and a table of cosines and sines.

With a table, angles are computed once, in fp32, for every position up to the model's limit; a forward only looks them
up. Inside a graph that is converted, `position × frequency` would be computed in the precision of the runtime: in bf16
the angle of position 8,191 is wrong by up to 16 radians.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trivet.checkpoint.flat.rotary import LinearScaling, Llama3Scaling, RotaryConfig, YarnScaling


def rotary_frequencies(head_size: int, config: RotaryConfig) -> tuple[Tensor, float]:
    """Return the frequency of each pair of channels, (head_size / 2,) fp32, and a factor of the cosines and sines.

    The angle of position p is ``p · frequency``. Pair i has ``base^(-2i / head_size)`` (RoFormer, Su et al. 2021,
    eq. 15), changed by the scaling.
    """
    exponents = torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size  # (D/2,)
    frequencies = 1.0 / (config.base**exponents)  # (D/2,)
    match config.scaling:
        case None:
            return frequencies, 1.0
        case LinearScaling(factor):
            return frequencies / factor, 1.0
        case Llama3Scaling():
            return _llama3(frequencies, config.scaling), 1.0
        case YarnScaling():
            kept = _kept_by_yarn(head_size, config.base, config.scaling)  # (D/2,)
            return frequencies / config.scaling.factor * (1 - kept) + frequencies * kept, config.scaling.amplitude


def _llama3(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Divide the frequencies that turn fewer than `low_turns` times in the trained length, by degrees up to
    `high_turns`."""
    turns = scaling.trained_tokens * frequencies / (2 * math.pi)  # (D/2,)
    kept = ((turns - scaling.low_turns) / (scaling.high_turns - scaling.low_turns)).clamp(0, 1)
    return (1 - kept) * frequencies / scaling.factor + kept * frequencies


def _kept_by_yarn(head_size: int, base: float, scaling: YarnScaling) -> Tensor:
    """How much of each frequency is kept, (D/2,): all of the fast ones, none of the slow ones, a ramp between."""

    def channel(turns: float) -> float:
        """The pair that turns that often within the trained length."""
        return head_size * math.log(scaling.trained_tokens / (turns * 2 * math.pi)) / (2 * math.log(base))

    first = max(math.floor(channel(scaling.high_turns)), 0)
    last = min(math.ceil(channel(scaling.low_turns)), head_size - 1)
    width = last - first or 0.001
    return 1 - ((torch.arange(head_size // 2, dtype=torch.float32) - first) / width).clamp(0, 1)


def rotary_table(positions: int, head_size: int, config: RotaryConfig) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, each (positions, head_size) fp32, NeoX layout: the second half repeats the first."""
    frequencies, amplitude = rotary_frequencies(head_size, config)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)  # (P, D/2)
    angles = torch.cat((angles, angles), dim=-1)  # (P, D)
    return angles.cos() * amplitude, angles.sin() * amplitude


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate ``x`` (B, heads, T, D) by tables (T, D). Computes in the tables' dtype and returns that of ``x``."""
    first, second = x.chunk(2, dim=-1)
    swapped = torch.cat((-second, first), dim=-1)  # (B, heads, T, D)
    return (x * cos + swapped * sin).to(x.dtype)


class TableRotary(nn.Module):
    """Replaces transformers' rotary module of ModernBERT: same call, same values, looked up.

    ``forward(x, position_ids (1, T), layer_type) -> (cos, sin)``, each (1, T, D) in ``x``'s dtype. One table per
    layer type, since local and global layers turn at different base frequencies.
    """

    def __init__(self, positions: int, head_size: int, bases: dict[str, float]) -> None:
        super().__init__()
        for layer_type, base in bases.items():
            cos, sin = rotary_table(positions, head_size, RotaryConfig(base))
            self.register_buffer(f"{layer_type}_cos", cos, persistent=False)  # (P, D) fp32
            self.register_buffer(f"{layer_type}_sin", sin, persistent=False)  # (P, D) fp32

    def forward(self, x: Tensor, position_ids: Tensor, layer_type: str) -> tuple[Tensor, Tensor]:
        """Look up the table of ``layer_type``; only the dtype of ``x`` is used."""
        cos, sin = self.get_buffer(f"{layer_type}_cos"), self.get_buffer(f"{layer_type}_sin")
        return cos[position_ids].to(x.dtype), sin[position_ids].to(x.dtype)
