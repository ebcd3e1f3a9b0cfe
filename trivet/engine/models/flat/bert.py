"""The BERT family on tokens laid end to end: bert, electra, roberta, xlm-roberta, camembert, distilbert.

They are one architecture. What differs (where positions begin, token types, the names of tensors, the head) is data in
:class:`~trivet.checkpoint.flat.bert.BertConfig`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from trivet.checkpoint.flat.bert import BertConfig
from trivet.engine.models.flat.attention import Attend, Reach
from trivet.engine.models.flat.layers import FeedForward, Projections


class BertEncoder(nn.Module):
    """``forward(ids (N,), token_types (N,) | None, positions (N,), attend) -> (N, H)`` in the weights' dtype.

    ``positions`` count from 0 within each sequence. Token types are ignored by a model that has one of them or none.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states of the last layer; see the class for shapes."""
        x: Tensor = self.embeddings(ids, token_types, positions)
        for layer in self.layers:
            x = layer(x, attend)
        return x


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.padding_id = config.padding_id
        self.words = nn.Embedding(config.vocab_size, size)
        self.positions = nn.Embedding(config.positions, size)
        self.types = nn.Embedding(config.token_types, size) if config.token_types else None
        self.norm = nn.LayerNorm(size, eps=config.norm_eps)
        self.project = nn.Linear(size, config.hidden_size) if size != config.hidden_size else nn.Identity()

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor) -> Tensor:
        if self.padding_id is not None:
            positions = _counted_positions(ids, positions, self.padding_id)
        x = self.words(ids) + self.positions(positions)  # (N, embedding size)
        if self.types is not None:
            has_choice = token_types is not None and self.types.num_embeddings > 1
            x = x + (self.types(token_types) if has_choice else self.types.weight[0])
        out: Tensor = self.project(self.norm(x))
        return out  # (N, H)


def _counted_positions(ids: Tensor, positions: Tensor, padding_id: int) -> Tensor:
    """RoBERTa's positions, (N,): they begin behind the padding id, and count the tokens that do not have it.

    A text can name the padding token, and its id may be that of another token.
    """
    counts = ids != padding_id  # (N,)
    counted = counts.cumsum(0)  # (N,), over all sequences
    first = torch.arange(len(ids), device=ids.device) - positions  # (N,), where each token's sequence begins
    before = (counted - counts.to(counted.dtype)).index_select(0, first)  # (N,), tokens of the sequences before
    return torch.where(counts, counted - before, 0) + padding_id


class _Layer(nn.Module):
    """Post-norm: ``x = norm(x + attention(x)); x = norm(x + feed_forward(x))``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.projections = Projections(config.hidden_size, config.heads, bias=True)
        self.mix_heads = nn.Linear(config.hidden_size, config.hidden_size)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.feed_forward = FeedForward(config.hidden_size, config.inner_size, config.activation)
        self.output_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        x = self.attention_norm(x + self._attention(x, attend))
        out: Tensor = self.output_norm(x + self.feed_forward(x))
        return out

    def _attention(self, x: Tensor, attend: Attend) -> Tensor:
        """(N, H) → (N, H). Separate, so that nothing of it is in memory beside the feed-forward block."""
        query, key, value = self.projections(x)  # each (N, h, D)
        mixed: Tensor = self.mix_heads(attend(query, key, value, Reach()).flatten(1))
        return mixed


_EMBEDDINGS: Final = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "project": "embeddings_project",
}
_LAYERS: Final[dict[str, tuple[str, dict[str, tuple[str, ...]]]]] = {
    "bert": (
        "encoder.layer.{}.",
        {
            "projections.joint": ("attention.self.query", "attention.self.key", "attention.self.value"),
            "mix_heads": ("attention.output.dense",),
            "attention_norm": ("attention.output.LayerNorm",),
            "feed_forward.inner": ("intermediate.dense",),
            "feed_forward.outer": ("output.dense",),
            "output_norm": ("output.LayerNorm",),
        },
    ),
    "distilbert": (
        "transformer.layer.{}.",
        {
            "projections.joint": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            "mix_heads": ("attention.out_lin",),
            "attention_norm": ("sa_layer_norm",),
            "feed_forward.inner": ("ffn.lin1",),
            "feed_forward.outer": ("ffn.lin2",),
            "output_norm": ("output_layer_norm",),
        },
    ),
}


def bert_tensors(config: BertConfig) -> dict[str, tuple[str, ...]]:
    """Module of ours → the published modules whose tensors, one below the other, are its own."""
    sources: dict[str, tuple[str, ...]] = {
        f"encoder.embeddings.{ours}": (theirs,) for ours, theirs in _EMBEDDINGS.items()
    }
    prefix, modules = _LAYERS[config.naming]
    for index in range(config.layers):
        for ours, theirs in modules.items():
            sources[f"encoder.layers.{index}.{ours}"] = tuple(prefix.format(index) + name for name in theirs)
    return sources
