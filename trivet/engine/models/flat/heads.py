"""What turns token states into the numbers of a sequence: vectors, logits or a score. It computes in fp32.

In 16 bits the last product of a reranker has 8 bits of mantissa: 500 documents then share 159 scores. A head is a few
rows per batch, so fp32 costs nothing.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from trivet.checkpoint.flat.heads import ClassifierHeadConfig, LabelHeadConfig, PooledHeadConfig, WordHeadConfig
from trivet.checkpoint.flat.model import BodyConfig
from trivet.engine.models.flat.layers import ACTIVATIONS, Fp32Linear
from trivet.engine.models.pooling import POOLERS, PooledHead, Pooling
from trivet.engine.models.spans import Spans
from trivet.engine.models.steps import (
    WordLogits,
    answering_words,
    build_steps,
    has_tensor,
    ids_of_words,
    read_bare_linear,
    read_rows,
)


class ClassificationHead(nn.Module):
    """``forward(states (N, H), spans) -> (S, labels) fp32``: pool, dense, activation, for some a norm, then logits."""

    def __init__(self, hidden_size: int, config: ClassifierHeadConfig) -> None:
        super().__init__()
        self.pool = POOLERS[config.pool]
        self.dense = Fp32Linear(hidden_size, hidden_size, bias=config.dense_bias)
        self.activation = ACTIVATIONS[config.activation]
        has_norm = config.norm_tensor is not None
        norm = nn.LayerNorm(hidden_size, eps=config.norm_eps, bias=config.norm_bias) if has_norm else nn.Identity()
        self.norm = norm
        self.output = Fp32Linear(hidden_size, config.labels)

    def forward(self, states: Tensor, spans: Spans) -> Tensor:
        """See the class."""
        return self.classify(self.pool(spans, states))

    def classify(self, pooled: Tensor) -> Tensor:
        """What follows pooling: (S, H) fp32 → (S, labels) fp32."""
        logits: Tensor = self.output(self.norm(self.activation(self.dense(pooled))))
        return logits


def classifier_tensors(config: ClassifierHeadConfig) -> dict[str, tuple[str, ...]]:
    """Module of ours → the published module whose tensors it has."""
    sources: dict[str, tuple[str, ...]] = {
        "head.dense": (config.dense_tensor,),
        "head.output": (config.output_tensor,),
    }
    return sources if config.norm_tensor is None else sources | {"head.norm": (config.norm_tensor,)}


def read_pooled_head(
    model_dir: Path, config: PooledHeadConfig | LabelHeadConfig | WordHeadConfig, body: BodyConfig
) -> PooledHead:
    """Read a head that pools before it computes, on the CPU in fp32.

    Raises:
        ModelError: an activation or a pooling mode is not known, a file lacks its tensors, or no word is named.
        CheckpointMismatch: a tensor has another shape than it is said to have.
    """
    size = body.hidden_size
    match config:
        case PooledHeadConfig(modes, steps, projection):
            projected = [] if projection is None else [read_bare_linear(model_dir, "linear", (projection, size))]
            return PooledHead(Pooling(modes), nn.Sequential(*projected, *build_steps(steps)))
        case LabelHeadConfig(labels):
            layer: nn.Module = read_bare_linear(model_dir, "score", (labels, size))
        case WordHeadConfig():
            layer = _word_logits(model_dir, config, body)
    return PooledHead(Pooling(("lasttoken",)), layer)


def _word_logits(model_dir: Path, config: WordHeadConfig, body: BodyConfig) -> WordLogits:
    score = config.score or answering_words(model_dir, config.recipe)
    ids = ids_of_words(model_dir, score, body.vocab_size)
    name = "lm_head.weight"
    if config.ties_words and not has_tensor(model_dir, name):
        names = ("model.embed_tokens.weight", "embed_tokens.weight")
        name = next((each for each in names if has_tensor(model_dir, each)), names[0])
    return WordLogits(read_rows(model_dir, name, ids, (body.vocab_size, body.hidden_size)), config.most_logit)
