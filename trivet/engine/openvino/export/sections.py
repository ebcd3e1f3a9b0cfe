"""Cuts ModernBERT at its attentions, so that a long forward becomes many short steps.

Between two attentions every token is computed separately: output projection, feed-forward block, norms, and the next
layer's queries, keys and values. Such a *section* can run over one slice of a batch's tokens after another, and needs
memory for one slice only. An attention has no weights and can be cut by queries. Between any two parts the runtime may
compute another batch, so short work does not wait behind 8,192 tokens.

The parts, and their inputs and outputs (N tokens, H hidden size, h heads of size D):

    section 0:      ids (N,), cos, sin (N, D)                        -> hidden (N, H), query, key, value (N, h, D)
    section i:      hidden, attn_output (N, h, D), cos, sin          -> hidden, query, key, value
    section layers: hidden, attn_output                              -> hidden
    attention:      query (B, Tq, h, D), key, value (B, Tk, h, D),
                    attn_mask (B, 1, Tq | 1, Tk) boolean             -> attn_output (B, Tq, h, D)
    head:           hidden (B, T, H), attention_mask (B, T)          -> output (B, outputs) fp32

Queries and keys leave their section rotated. The modules use transformers' own layers and parameters; this module only
decides where to cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trivet.engine.models.flat.layers import cut_linear
from trivet.engine.models.load import PooledModel, SequenceClassifier
from trivet.engine.models.pooling import Pooling
from trivet.engine.models.rotary import TableRotary, rotate
from trivet.engine.models.spans import BinSpans
from trivet.engine.openvino.sections_meta import ATTENTION, HEAD, SectionsMeta, section_name


@dataclass(frozen=True)
class Part:
    """One module with examples of its inputs, by name; dimensions in `dynamic` may differ from the example's."""

    name: str
    module: nn.Module
    example: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: dict[str, tuple[int, ...]]


class _Projections(nn.Module):
    """A layer's norm, queries, keys and values, as three products instead of one whose result would be split."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.norm = layer.attn_norm
        self.head_size = layer.attn.head_dim
        self.query, self.key, self.value = cut_linear(layer.attn.Wqkv, 3)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normed = self.norm(hidden)  # (N, H)
        heads = (-1, self.head_size)
        query, key, value = (
            product(normed).unflatten(-1, heads) for product in (self.query, self.key, self.value)
        )  # each (N, h, D)
        cos, sin = cos[:, None], sin[:, None]  # (N, 1, D)
        return rotate(query, cos, sin), rotate(key, cos, sin), value


class _AfterAttention(nn.Module):
    """The rest of a layer. The two halves of the gated feed-forward block are separate products too."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.output = layer.attn.Wo
        self.norm = layer.mlp_norm
        self.act = layer.mlp.act
        self.inner, self.gate = cut_linear(layer.mlp.Wi, 2)
        self.outer = layer.mlp.Wo

    def forward(self, hidden: Tensor, attn_output: Tensor) -> Tensor:
        hidden = hidden + self.output(attn_output.flatten(1))  # (N, H)
        normed = self.norm(hidden)
        after: Tensor = hidden + self.outer(self.act(self.inner(normed)) * self.gate(normed))
        return after


class FirstSection(nn.Module):
    """Embeddings, and the queries, keys and values of layer 0."""

    def __init__(self, embeddings: nn.Module, layer: Any) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.projections = _Projections(layer)

    def forward(self, ids: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the module."""
        hidden: Tensor = self.embeddings(input_ids=ids)  # (N, H)
        return hidden, *self.projections(hidden, cos, sin)


class MiddleSection(nn.Module):
    """From one layer's attention to the next one's."""

    def __init__(self, layer: Any, following: Any) -> None:
        super().__init__()
        self.after_attention = _AfterAttention(layer)
        self.projections = _Projections(following)

    def forward(
        self, hidden: Tensor, attn_output: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the module."""
        hidden = self.after_attention(hidden, attn_output)  # (N, H)
        return hidden, *self.projections(hidden, cos, sin)


class LastSection(nn.Module):
    """From the last attention to the encoder's output."""

    def __init__(self, layer: Any, final_norm: nn.Module) -> None:
        super().__init__()
        self.after_attention = _AfterAttention(layer)
        self.final_norm = final_norm

    def forward(self, hidden: Tensor, attn_output: Tensor) -> Tensor:
        """See the module."""
        normed: Tensor = self.final_norm(self.after_attention(hidden, attn_output))
        return normed  # (N, H)


class Attention(nn.Module):
    """Scaled-dot-product attention over tokens in the arrangement of the sections."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.scale = head_size**-0.5

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor) -> Tensor:
        """See the module."""
        q, k, v = (states.transpose(1, 2) for states in (query, key, value))  # each (B, h, T, D)
        attn_output = functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, scale=self.scale)
        return attn_output.transpose(1, 2)  # (B, Tq, h, D)


class VectorHead(nn.Module):
    """Pooling, and what follows it."""

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """See the module."""
        pooled: Tensor = self.pooling(hidden.flatten(0, 1), BinSpans.of_padded(attention_mask))
        return pooled


class ClassifierHead(nn.Module):
    """ModernBERT's classification head: pool, dense, norm, logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.pooling = VectorHead(Pooling((model.config.classifier_pooling,)))
        self.dense, self.classifier = model.head, model.classifier

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """See the module."""
        logits: Tensor = self.classifier(self.dense(self.pooling(hidden, attention_mask)))
        return logits.float()


def can_be_cut(model: PooledModel | SequenceClassifier) -> bool:
    """Whether `parts` knows this model: a ModernBERT with the plain rotary positions."""
    return isinstance(getattr(_encoder(model), "rotary_emb", None), TableRotary)


def parts(model: PooledModel | SequenceClassifier) -> Iterator[Part]:
    """Yield all parts in the order in which they first run."""
    encoder = _encoder(model)
    config = encoder.config
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    layers = list(encoder.layers)
    tokens = 7  # any number: it is traced as a symbol
    hidden = torch.randn(tokens, config.hidden_size)
    attn_output = torch.randn(tokens, heads, size)
    rotary = {"cos": torch.randn(tokens, size), "sin": torch.randn(tokens, size)}
    ids = torch.randint(min(5, config.vocab_size - 1), config.vocab_size, (tokens,))
    leaves = ("next_hidden", "query", "key", "value")

    def section(index: int, module: nn.Module, example: dict[str, Tensor], outputs: tuple[str, ...]) -> Part:
        return Part(section_name(index), module, example, outputs, dict.fromkeys(example, (0,)))

    yield section(0, FirstSection(encoder.embeddings, layers[0]), {"ids": ids, **rotary}, leaves)
    for index, (layer, following) in enumerate(pairwise(layers), start=1):
        yield section(
            index, MiddleSection(layer, following), {"hidden": hidden, "attn_output": attn_output, **rotary}, leaves
        )
    last = LastSection(layers[-1], encoder.final_norm)
    yield section(len(layers), last, {"hidden": hidden, "attn_output": attn_output}, leaves[:1])

    queries, keys = torch.randn(2, 7, heads, size), torch.randn(2, 9, heads, size)
    yield Part(
        ATTENTION,
        Attention(size),
        {"query": queries, "key": keys, "value": keys, "attn_mask": torch.ones(2, 1, 7, 9, dtype=torch.bool)},
        ("attn_output",),
        {"query": (0, 1), "key": (0, 1), "value": (0, 1), "attn_mask": (0, 2, 3)},
    )
    head = VectorHead(model.head) if isinstance(model, PooledModel) else ClassifierHead(model.model)
    mask = torch.ones(2, tokens, dtype=torch.int64)
    yield Part(
        HEAD,
        head,
        {"hidden": torch.randn(2, tokens, config.hidden_size), "attention_mask": mask},
        ("output",),
        {"hidden": (0, 1), "attention_mask": (0, 1)},
    )


def describe(model: PooledModel | SequenceClassifier) -> SectionsMeta:
    """Return the facts that the runtime needs beside the graphs."""
    encoder = _encoder(model)
    config = encoder.config
    return SectionsMeta(
        layer_types=list(config.layer_types),
        sliding_window=config.sliding_window,
        hidden_size=config.hidden_size,
        heads=config.num_attention_heads,
    )


def rotary_tables(model: PooledModel | SequenceClassifier) -> dict[str, Any]:
    """Return `<layer type>_cos` and `_sin`, each (positions, D) fp32 numpy."""
    return {name: table.numpy() for name, table in _encoder(model).rotary_emb.named_buffers()}


def _encoder(model: PooledModel | SequenceClassifier) -> Any:
    return model.encoder if isinstance(model, PooledModel) else getattr(model.model, "model", None)
