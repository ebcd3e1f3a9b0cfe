"""What turns token states into a sequence's answer: pooling, or a classification head. Both compute in fp32.

In 16 bits the last product of a reranker has 8 bits of mantissa: 500 documents then share 159 scores. A head is a few
rows per batch, so fp32 costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor, cat, nn

from trivet.engine.models.flat.architectures import HeadConfig
from trivet.engine.models.flat.layers import ACTIVATIONS, Fp32Linear
from trivet.engine.models.flat.spans import Spans
from trivet.errors import ModelError

_POOLERS: Final[dict[str, Callable[[Spans, Tensor], Tensor]]] = {
    "cls": lambda spans, states: spans.first(states),
    "max": lambda spans, states: spans.max(states),
    "mean": lambda spans, states: spans.sum(states) / spans.lengths,
    "mean_sqrt_len_tokens": lambda spans, states: spans.sum(states) / spans.lengths.sqrt(),
    # The weights 1 … n sum to n (n + 1) / 2.
    "weightedmean": lambda spans, states: spans.rising_sum(states) * 2.0 / (spans.lengths * (spans.lengths + 1.0)),
    "lasttoken": lambda spans, states: spans.last(states),
}


class PoolingHead(nn.Module):
    """``forward(states (N, H), spans) -> (S, modes · H) fp32``: an embedder's vectors, modes side by side.

    Normalisation is *not* done here: windows of a long text are averaged first.
    """

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        unknown = [mode for mode in modes if mode not in _POOLERS]
        if unknown or not modes:
            raise ModelError(
                f"pooling mode {', '.join(unknown) or '(none)'} is not supported: {', '.join(_POOLERS)} are"
            )
        self.modes = modes

    def forward(self, states: Tensor, spans: Spans) -> Tensor:
        """See the class."""
        return cat([_POOLERS[mode](spans, states) for mode in self.modes], dim=-1)


class ClassificationHead(nn.Module):
    """``forward(states (N, H), spans) -> (S, labels) fp32``: pool, dense, activation, for some a norm, then logits."""

    def __init__(self, hidden_size: int, config: HeadConfig) -> None:
        super().__init__()
        self.pool = _POOLERS[config.pool]
        self.dense = Fp32Linear(hidden_size, hidden_size, bias=config.dense_bias)
        self.activation = ACTIVATIONS[config.activation]
        norm = nn.LayerNorm(hidden_size, eps=config.norm_eps, bias=config.norm_bias) if config.norm else nn.Identity()
        self.norm = norm
        self.output = Fp32Linear(hidden_size, config.labels)

    def forward(self, states: Tensor, spans: Spans) -> Tensor:
        """See the class."""
        return self.classify(self.pool(spans, states))

    def classify(self, pooled: Tensor) -> Tensor:
        """What follows pooling: (S, H) fp32 → (S, labels) fp32."""
        logits: Tensor = self.output(self.norm(self.activation(self.dense(pooled))))
        return logits
