"""From hidden states to one vector per sequence, as the checkpoint's sentence-transformers files say.

Normalisation is *not* done here: windows of a long text are averaged first. Sequences are padded on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from trivet.checkpoint.pooling import read_pooling_modes
from trivet.errors import ModelError


class Pooling(nn.Module):
    """``forward(hidden (B, T, H), attention_mask (B, T)) -> (B, modes · H) fp32``, modes side by side."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        unknown = [mode for mode in modes if mode not in _POOLERS]
        if unknown or not modes:
            raise ModelError(
                f"pooling mode {', '.join(unknown) or '(none)'} is not supported: {', '.join(_POOLERS)} are"
            )
        self.modes = modes

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled vectors; sums run in fp32 whatever the hidden states' dtype."""
        mask = attention_mask.to(torch.float32)[..., None]  # (B, T, 1)
        return torch.cat([_POOLERS[mode](hidden.float(), mask) for mode in self.modes], dim=-1)


def _cls(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(mask == 0, float("-inf")).amax(dim=1)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)


def _mean_sqrt_len(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0).sqrt()


def _weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Token t (from 1) weighs t: later tokens of a causal model have seen more."""
    weights = mask.cumsum(dim=1) * mask  # (B, T, 1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def _last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    last = (mask.sum(dim=1, keepdim=True).clamp(min=1.0) - 1.0).to(torch.int64)  # (B, 1, 1)
    return hidden.gather(1, last.expand(-1, -1, hidden.shape[-1])).squeeze(1)


_POOLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}


def read_pooling(model_dir: Path) -> Pooling:
    """The pooling that a checkpoint's files ask for.

    Raises:
        ModelError: see `read_pooling_modes`; or a mode is not supported.
    """
    return Pooling(read_pooling_modes(model_dir))
