"""Attention masks for models whose layers are of two kinds, computed from the lengths alone.

transformers would make them with closures that a converter cannot trace.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

FAMILIES = frozenset({"embedding_gemma2", "gemma2", "gemma3_text"})
"""Model types whose modules take a mask for each kind of layer from outside."""


class LayerMasks(nn.Module):
    """``forward(attention_mask (B, T)) -> {kind of layer: (B, 1, T, T) bool}``, true where a query sees a key."""

    def __init__(self, reach: int, *, causal: bool) -> None:
        super().__init__()
        self.reach = reach
        """Largest distance between a query and a key in a sliding layer, in tokens."""
        self.causal = causal

    @classmethod
    def of(cls, config: Any) -> LayerMasks:
        """Return those of a transformers configuration of one of the `FAMILIES`."""
        text = getattr(config, "text_config", config)
        if text.model_type.startswith("embedding_gemma2"):
            return cls(text.sliding_window, causal=False)
        # The configuration of Gemma 3 has halved the window already where it attends both ways.
        return cls(text.sliding_window - 1, causal=not getattr(text, "use_bidirectional_attention", False))

    def forward(self, attention_mask: Tensor) -> dict[str, Tensor]:
        """See the class."""
        positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)  # (T,)
        ahead = positions[:, None] - positions[None, :]  # (T, T): how far the query lies behind the key
        keys = attention_mask.bool()[:, None, None, :]  # (B, 1, 1, T)
        # A padded query sees itself: a row without any key would become NaN and spread.
        itself = ahead == 0
        seen = keys & (ahead >= 0) if self.causal else keys & (ahead <= attention_mask.shape[1])
        return {
            "full_attention": seen | itself,
            "sliding_attention": (seen & (ahead.abs() <= self.reach)) | itself,
        }
