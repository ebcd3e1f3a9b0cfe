"""Rotary position embedding from a precomputed table.

Angles are computed once, in fp32, for every position up to the model's limit; a forward only looks them up. Inside the
graph, `position × frequency` would be computed in the precision of the runtime: in bf16 the angle of position 8,191 is
wrong by up to 16 radians.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rotary_table(positions: int, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, each (positions, head_size) fp32. In the NeoX layout the second half repeats the first.

    The angle of position p and pair i is ``p · base^(-2i / head_size)`` (RoFormer, Su et al. 2021, eq. 15).
    """
    exponents = torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size  # (D/2,)
    frequencies = 1.0 / (base**exponents)  # (D/2,)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)  # (P, D/2)
    angles = torch.cat((angles, angles), dim=-1)  # (P, D)
    return angles.cos(), angles.sin()


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
            cos, sin = rotary_table(positions, head_size, base)
            self.register_buffer(f"{layer_type}_cos", cos, persistent=False)  # (P, D) fp32
            self.register_buffer(f"{layer_type}_sin", sin, persistent=False)  # (P, D) fp32

    def forward(self, x: Tensor, position_ids: Tensor, layer_type: str) -> tuple[Tensor, Tensor]:
        """Look up the table of ``layer_type``; only the dtype of ``x`` is used."""
        cos, sin = self.get_buffer(f"{layer_type}_cos"), self.get_buffer(f"{layer_type}_sin")
        return cos[position_ids].to(x.dtype), sin[position_ids].to(x.dtype)
