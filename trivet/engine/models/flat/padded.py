"""A flat encoder behind the call of a padded one, for what pads its sequences or lays them in bins.

The CPU lane exports it, and a GPU runs it for a checkpoint with modules that flat models do not have.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from trivet.config import Task
from trivet.engine.models.flat.attention import Reach
from trivet.engine.models.flat.layers import Angles, Projections, cut_linear
from trivet.engine.models.flat.load import load_flat_encoder
from trivet.engine.models.rotary import rotate


class PaddedEncoder(nn.Module):
    """``forward(input_ids (B, T) int64, attention_mask (B, T) int64) -> (B, T, H)`` in the weights' dtype.

    1 in the mask is a token and 0 padding; hidden states at padded positions are meaningless. If several sequences
    share a row, the mask says which query sees which key, (B, 1, T, T). Positions count from the beginning of the row,
    so an encoder whose positions are not relative takes one sequence a row. It is given no token types.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states of the last layer; see the class for shapes."""
        rows, width = input_ids.shape
        is_token = attention_mask.bool()
        attn_mask = is_token if is_token.ndim == 4 else is_token[:, None, None, :]  # (B, 1, 1 or T, T)
        positions = torch.arange(width, device=input_ids.device).expand(rows, width)  # (B, T)
        hidden = self.encoder(input_ids.flatten(), None, positions.flatten(), partial(_attend, attn_mask))  # (B·T, H)
        return hidden.view(rows, width, -1)  # type: ignore[no-any-return]


def load_padded_encoder(
    model_dir: Path, task: Task, dtype: torch.dtype = torch.float32, *, for_export: bool = False
) -> PaddedEncoder:
    """Load the encoder of a checkpoint on the CPU, in evaluation mode.

    Args:
        model_dir: a directory in Hugging Face (or sentence-transformers) layout.
        task: of the checkpoint.
        dtype: of the weights and the computation. In the files' dtype the weights stay mapped from the files.
        for_export: compute queries, keys and values in three products, and rotate in the textbook form. A graph pays
            for splitting a joint product, and none can write into parts of its result, as `turn` does.

    Raises:
        ModelError: as `FlatCheckpoint` raises it.
    """
    encoder = load_flat_encoder(model_dir, task, dtype)
    if for_export:
        _cut_projections(encoder)
    return PaddedEncoder(encoder).eval().requires_grad_(False)


def _attend(attn_mask: Tensor, query: Tensor, key: Tensor, value: Tensor, reach: Reach) -> Tensor:
    """Attend within the rows of a padded batch; see `trivet.engine.models.flat.attention.Attend`."""
    assert reach == Reach(), "local and causal layers need masks of their own"
    rows, width = attn_mask.shape[0], attn_mask.shape[-1]
    q, k, v = (states.view(rows, width, *states.shape[1:]).transpose(1, 2) for states in (query, key, value))
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask)  # (B, h, T, D)
    return mixed.transpose(1, 2).flatten(0, 1)  # (B·T, h, D)


class _CutProjections(nn.Module):
    """`Projections` as three products, rotated in the textbook form."""

    def __init__(self, joint: Projections) -> None:
        super().__init__()
        self.heads, self.head_size = joint.heads, joint.head_size
        self.query, self.key, self.value = cut_linear(joint.joint, 3)

    def forward(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H) → q, k, v, each (N, h, D)."""
        shape = (-1, self.heads, self.head_size)
        query, key, value = (product(x).view(shape) for product in (self.query, self.key, self.value))
        cos, sin = (table[:, None] for table in angles)  # each (N, 1, D)
        return rotate(query, cos, sin), rotate(key, cos, sin), value


def _cut_projections(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Projections):
            setattr(module, name, _CutProjections(child))
        else:
            _cut_projections(child)
