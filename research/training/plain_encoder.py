"""The starter models' encoder in plain torch: a BERT of six layers as functions over a dictionary of weights.

The names of the weights are those of `BertForSequenceClassification`. Written out, it needs neither transformers nor a
config file where it is trained, computes in bf16 on fp32 weights without a cast around every operation, projects
queries, keys and values in one product, and stops at the first token in the last layer (see `first_token`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

HEADS = 12
LAYER_NORM_EPSILON = 1e-12
FROZEN = ("bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight")
"""The tables that every starter model shares with the base encoder: no training moves them."""

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """B padded sequences of T tokens."""

    ids: Tensor  # (B, T) int64
    lengths: Tensor  # (B,) int64
    first_tokens: Tensor  # (B,) int64: how many tokens carry type 0; the rest carries type 1


def head_logits(weights: Weights, batch: TokenBatch, *, dtype: torch.dtype, dropout: float = 0.0) -> Tensor:
    """Logits of the classification head, which reads the first token.  # (B, num_labels) float32"""
    layers = _layer_count(weights)
    hidden = _embed(weights, batch, dtype)
    bias = _attention_bias(batch, dtype)
    for layer in range(layers - 1):
        hidden = _layer(weights, layer, hidden, hidden, bias, dropout)
    first = _layer(weights, layers - 1, hidden[:, :1], hidden, bias, dropout)[:, 0]  # (B, D)
    pooled = torch.tanh(_linear(weights, "bert.pooler.dense", first.float()))
    return _linear(weights, "classifier", functional.dropout(pooled, dropout, training=dropout > 0))


def mean_vectors(weights: Weights, batch: TokenBatch, *, dtype: torch.dtype) -> Tensor:
    """Unit vectors by the mean over the tokens, as the starter embedder pools.  # (B, D) float32"""
    hidden = _embed(weights, batch, dtype)
    bias = _attention_bias(batch, dtype)
    for layer in range(_layer_count(weights)):
        hidden = _layer(weights, layer, hidden, hidden, bias, 0.0)
    counted = _visible(batch)[:, :, None].float()  # (B, T, 1)
    mean = (hidden.float() * counted).sum(dim=1) / counted.sum(dim=1)
    return functional.normalize(mean, dim=1)


def _layer_count(weights: Weights) -> int:
    return sum(name.endswith("attention.self.query.weight") for name in weights)


def _visible(batch: TokenBatch) -> Tensor:
    """Which positions hold a token.  # (B, T) bool"""
    return torch.arange(batch.ids.shape[1], device=batch.ids.device)[None, :] < batch.lengths[:, None]


def _attention_bias(batch: TokenBatch, dtype: torch.dtype) -> Tensor:
    """0 where a position holds a token, the lowest number where it is padding.  # (B, 1, 1, T)"""
    hidden = ~_visible(batch)[:, None, None, :]
    return torch.zeros(hidden.shape, dtype=dtype, device=batch.ids.device).masked_fill(hidden, torch.finfo(dtype).min)


def _embed(weights: Weights, batch: TokenBatch, dtype: torch.dtype) -> Tensor:
    """The sum of the three embeddings, normalised.  # (B, T, D)"""
    positions = torch.arange(batch.ids.shape[1], device=batch.ids.device)  # (T,)
    types = (positions[None, :] >= batch.first_tokens[:, None]).long()  # padding gets type 1, which nothing reads
    prefix = "bert.embeddings."
    hidden = (
        functional.embedding(batch.ids, weights[prefix + "word_embeddings.weight"])
        + weights[prefix + "position_embeddings.weight"][positions]
        + functional.embedding(types, weights[prefix + "token_type_embeddings.weight"])
    )
    return _norm(weights, prefix + "LayerNorm", hidden, dtype)


def _layer(weights: Weights, layer: int, asking: Tensor, hidden: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """One layer's output at the positions `asking`, which attend to `hidden`.  # (B, Q, D), (B, T, D) -> (B, Q, D)"""
    prefix = f"bert.encoder.layer.{layer}."
    attention = prefix + "attention.self."
    query = _heads(_linear(weights, attention + "query", asking))
    key, value = (
        _heads(part) for part in _joint_linear(weights, (attention + "key", attention + "value"), hidden).chunk(2, -1)
    )
    mask = bias.expand(-1, HEADS, query.shape[2], -1)
    context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    attended = _linear(weights, prefix + "attention.output.dense", context.transpose(1, 2).flatten(-2))
    hidden = _norm(weights, prefix + "attention.output.LayerNorm", _drop(attended, dropout) + asking, asking.dtype)
    widened = functional.gelu(_linear(weights, prefix + "intermediate.dense", hidden))
    narrowed = _linear(weights, prefix + "output.dense", widened)
    return _norm(weights, prefix + "output.LayerNorm", _drop(narrowed, dropout) + hidden, hidden.dtype)


def _heads(states: Tensor) -> Tensor:
    return states.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, H, T, D / H)


def _linear(weights: Weights, name: str, states: Tensor) -> Tensor:
    weight, bias = weights[name + ".weight"], weights[name + ".bias"]
    return functional.linear(states, weight.to(states.dtype), bias.to(states.dtype))


def _joint_linear(weights: Weights, names: tuple[str, ...], states: Tensor) -> Tensor:
    weight = torch.cat([weights[name + ".weight"] for name in names])
    bias = torch.cat([weights[name + ".bias"] for name in names])
    return functional.linear(states, weight.to(states.dtype), bias.to(states.dtype))


def _norm(weights: Weights, name: str, states: Tensor, dtype: torch.dtype) -> Tensor:
    """LayerNorm in fp32: in bf16, steps of its weights would be lost beside 1, and CUDA takes no mixture of the two."""
    weight, bias = weights[name + ".weight"], weights[name + ".bias"]
    return functional.layer_norm(states.float(), states.shape[-1:], weight, bias, LAYER_NORM_EPSILON).to(dtype)


def _drop(states: Tensor, dropout: float) -> Tensor:
    return functional.dropout(states, dropout, training=True) if dropout > 0 else states
