"""Pools the states of tokens into one vector per sequence, as the checkpoint's sentence-transformers files say.

Each mode is written once, over `trivet.engine.models.spans.Spans`, and so holds for every layout of a batch. Vectors
are not normalised here, because those of a long text's windows are averaged first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor, cat, nn

from trivet.engine.models.spans import Spans
from trivet.errors import ModelError

POOLERS: Final[dict[str, Callable[[Spans, Tensor], Tensor]]] = {
    "cls": lambda spans, states: spans.first(states),
    "max": lambda spans, states: spans.max(states),
    "mean": lambda spans, states: spans.sum(states) / spans.lengths,
    "mean_sqrt_len_tokens": lambda spans, states: spans.sum(states) / spans.lengths.sqrt(),
    # The weights 1 … n sum to n (n + 1) / 2.
    "weightedmean": lambda spans, states: spans.rising_sum(states) * 2.0 / (spans.lengths * (spans.lengths + 1.0)),
    "lasttoken": lambda spans, states: spans.last(states),
}
"""By mode: spans and states (N, H) → (S, H) fp32."""


class Pooling(nn.Module):
    """``forward(states (N, H), spans) -> (S, modes · H) fp32``: vectors, modes side by side."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        unknown = [mode for mode in modes if mode not in POOLERS]
        if unknown or not modes:
            raise ModelError(
                f"pooling mode {', '.join(unknown) or '(none)'} is not supported: {', '.join(POOLERS)} are"
            )
        self.modes = modes

    def forward(self, states: Tensor, spans: Spans) -> Tensor:
        """See the class."""
        return cat([POOLERS[mode](spans, states) for mode in self.modes], dim=-1)


class PooledHead(nn.Module):
    """Pooling, and layers over the pooled vector: ``forward(states (N, H), spans) -> (S, outputs) fp32``."""

    def __init__(self, pooling: Pooling, steps: nn.Module) -> None:
        super().__init__()
        self.pooling, self.steps = pooling, steps

    def forward(self, states: Tensor, spans: Spans) -> Tensor:
        """See the class."""
        outputs: Tensor = self.steps(self.pooling(states, spans))
        return outputs
