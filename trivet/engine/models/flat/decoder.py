"""Decoders on tokens laid end to end: Llama, Mistral, Qwen 2 and 3, Gemma 1 and 3, causal or in both directions.

They are one architecture: pre-norm layers, rotary positions, gated feed-forward, and heads that share keys and values.
What differs is data in :class:`~trivet.checkpoint.flat.decoders.DecoderConfig`. Nothing is generated: a forward reads
each sequence once, so there is no cache of keys and values.
"""

from __future__ import annotations

from torch import Tensor, nn

from trivet.checkpoint.flat.decoders import DecoderConfig, DecoderLayerConfig
from trivet.checkpoint.flat.feed_forward import FeedForwardConfig
from trivet.engine.models.flat.attention import Attend, Reach
from trivet.engine.models.flat.layers import Angles, ComputedRotary, GatedFeedForward, RmsNorm, turn


class Decoder(nn.Module):
    """``forward(ids (N,), token_types, positions (N,), attend) -> (N, H)`` in the weights' dtype.

    ``positions`` count from 0 within each sequence; token types are ignored, the model has none.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.words_scale = config.hidden_size**0.5 if config.is_gemma else None
        kinds = list(dict.fromkeys(layer.rotary for layer in config.layers))
        self.rotary = nn.ModuleList(ComputedRotary(config.head_size, kind) for kind in kinds)
        self.kind_of_layer = [kinds.index(layer.rotary) for layer in config.layers]
        self.layers = nn.ModuleList(_Layer(config, layer) for layer in config.layers)
        self.final_norm = RmsNorm(config.hidden_size, config.norm_eps, is_gemma=config.is_gemma)

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states of the last layer, normed; see the class for shapes."""
        x = self.words(ids)  # (N, H)
        if self.words_scale is not None:
            x = x * self.words_scale
        angles = [rotary(positions, x.dtype) for rotary in self.rotary]
        for layer, kind in zip(self.layers, self.kind_of_layer, strict=True):
            x = layer(x, angles[kind], attend)
        out: Tensor = self.final_norm(x)
        return out


class _Layer(nn.Module):
    """Pre-norm: ``x = x + attention(norm(x)); x = x + feed_forward(norm(x))``; Gemma 3 norms both summands too."""

    def __init__(self, config: DecoderConfig, layer: DecoderLayerConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = _Attention(config, layer)
        self.attention_output_norm = _norm(config) if config.norms_outputs else nn.Identity()
        self.feed_forward_norm = _norm(config)
        block = FeedForwardConfig(config.activation, gated=True, inner_bias=config.mlp_bias, outer_bias=config.mlp_bias)
        self.feed_forward = GatedFeedForward(config.hidden_size, config.inner_size, block)
        self.feed_forward_output_norm = _norm(config) if config.norms_outputs else nn.Identity()

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        x = x + self.attention_output_norm(self.attention(self.attention_norm(x), angles, attend))
        out: Tensor = x + self.feed_forward_output_norm(self.feed_forward(self.feed_forward_norm(x)))
        return out


class _Attention(nn.Module):
    """Of h heads, each group of which shares one of g keys and values."""

    def __init__(self, config: DecoderConfig, layer: DecoderLayerConfig) -> None:
        super().__init__()
        size = config.head_size
        self.head_size = size
        self.reach = Reach(layer.window, 0 if config.causal else layer.window)
        # Every form of attention divides the products by the root of the head size.
        factor = config.attention_scale * size**0.5
        self.query_factor = None if abs(factor - 1) < 1e-9 else factor
        self.query = nn.Linear(config.hidden_size, config.heads * size, bias=config.projection_bias)
        self.key_value = nn.Linear(config.hidden_size, 2 * config.key_value_heads * size, bias=config.projection_bias)
        self.query_norm = _norm(config, size) if config.norms_queries else nn.Identity()
        self.key_norm = _norm(config, size) if config.norms_queries else nn.Identity()
        self.mix_heads = nn.Linear(config.heads * size, config.hidden_size, bias=config.output_bias)

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """(N, H) → (N, H)."""
        query = turn(self.query_norm(self.query(x).unflatten(1, (-1, self.head_size))), angles)  # (N, h, D)
        if self.query_factor is not None:
            query = query * self.query_factor
        key, value = self.key_value(x).unflatten(1, (2, -1, self.head_size)).unbind(1)  # each (N, g, D)
        mixed = attend(query, turn(self.key_norm(key), angles), value, self.reach)  # (N, h, D)
        out: Tensor = self.mix_heads(mixed.flatten(1))
        return out


def _norm(config: DecoderConfig, size: int | None = None) -> RmsNorm:
    return RmsNorm(size or config.hidden_size, config.norm_eps, is_gemma=config.is_gemma)


def decoder_tensors(config: DecoderConfig) -> dict[str, tuple[str, ...]]:
    """Module of ours → the published modules whose tensors, one below the other, are its own."""
    of_layer: dict[str, tuple[str, ...]] = {
        "attention_norm": ("input_layernorm",),
        "attention.query": ("self_attn.q_proj",),
        "attention.key_value": ("self_attn.k_proj", "self_attn.v_proj"),
        "attention.query_norm": ("self_attn.q_norm",),
        "attention.key_norm": ("self_attn.k_norm",),
        "attention.mix_heads": ("self_attn.o_proj",),
        "feed_forward.joint": ("mlp.gate_proj", "mlp.up_proj"),
        "feed_forward.outer": ("mlp.down_proj",),
    }
    if config.norms_outputs:
        of_layer |= {
            "attention_output_norm": ("post_attention_layernorm",),
            "feed_forward_norm": ("pre_feedforward_layernorm",),
            "feed_forward_output_norm": ("post_feedforward_layernorm",),
        }
    else:
        of_layer["feed_forward_norm"] = ("post_attention_layernorm",)
    sources: dict[str, tuple[str, ...]] = {"encoder.words": ("embed_tokens",), "encoder.final_norm": ("norm",)}
    for index in range(len(config.layers)):
        for ours, theirs in of_layer.items():
            sources[f"encoder.layers.{index}.{ours}"] = tuple(f"layers.{index}.{name}" for name in theirs)
    return sources
