"""The classification head, which turns token states into a sequence's logits. It computes in fp32.

In 16 bits the last product of a reranker has 8 bits of mantissa: 500 documents then share 159 scores. A head is a few
rows per batch, so fp32 costs nothing.
"""

from __future__ import annotations

from torch import Tensor, nn

from trivet.checkpoint.flat_encoders import HeadConfig
from trivet.engine.models.flat.layers import ACTIVATIONS, Fp32Linear
from trivet.engine.models.pooling import POOLERS
from trivet.engine.models.spans import Spans


class ClassificationHead(nn.Module):
    """``forward(states (N, H), spans) -> (S, labels) fp32``: pool, dense, activation, for some a norm, then logits."""

    def __init__(self, hidden_size: int, config: HeadConfig) -> None:
        super().__init__()
        self.pool = POOLERS[config.pool]
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
