"""Post-norm encoders with rotary positions, on tokens laid end to end: nomic-embed and gte.

nomic-embed is v1.5 (SwiGLU) and v2, whose odd layers have experts; gte has GeGLU. Fields of config.json that would mean
another formula are refused: see `trivet.checkpoint.flat.rotary_encoder`, `trivet.checkpoint.nomic`.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from trivet.checkpoint.flat.rotary_encoder import RotaryEncoderConfig
from trivet.engine.models.flat.attention import Attend, Reach
from trivet.engine.models.flat.experts import Experts
from trivet.engine.models.flat.layers import Angles, FeedForward, GatedFeedForward, Projections, Rotary


class RotaryEncoder(nn.Module):
    """``forward(ids (N,), token_types (N,) | None, positions (N,), attend) -> (N, H)`` in the weights' dtype.

    ``positions`` count from 0 within each sequence. Token types are ignored by a model that has one of them or none.
    """

    def __init__(self, config: RotaryEncoderConfig) -> None:
        super().__init__()
        # No padding_idx: the row of <pad> is trained and not zero.
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.types = nn.Embedding(config.token_types, config.hidden_size) if config.token_types else None
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.rotary = Rotary(config.max_tokens, config.head_size, config.rotary)
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.layers))

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states of the last layer; see the class for shapes."""
        x = self.words(ids)  # (N, H)
        if self.types is not None:
            has_choice = token_types is not None and self.types.num_embeddings > 1
            x = x + (self.types(token_types) if has_choice else self.types.weight[0])
        x = self.norm(x)
        angles = self.rotary(positions, x.dtype)
        for layer in self.layers:
            x = layer(x, angles, attend)
        out: Tensor = x
        return out


class _Layer(nn.Module):
    """Post-norm: ``x = norm(x + attention(x)); x = norm(x + feed_forward(x))``."""

    def __init__(self, config: RotaryEncoderConfig, index: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.projections = Projections(size, config.heads, bias=config.attention_bias)
        self.mix_heads = nn.Linear(size, size, bias=config.attention_bias)
        self.attention_norm = nn.LayerNorm(size, eps=config.norm_eps)
        self.feed_forward: nn.Module
        if config.moe is not None and config.moe.is_moe_layer(index):
            self.feed_forward = Experts(config.moe)
        elif config.feed_forward.gated:
            self.feed_forward = GatedFeedForward(size, config.inner_size, config.feed_forward)
        else:
            self.feed_forward = FeedForward(size, config.inner_size, config.feed_forward.activation)
        self.output_norm = nn.LayerNorm(size, eps=config.norm_eps)

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        x = self.attention_norm(x + self._attention(x, angles, attend))
        out: Tensor = self.output_norm(x + self.feed_forward(x))
        return out

    def _attention(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """(N, H) → (N, H). Separate, so that nothing of it is in memory beside the feed-forward block."""
        query, key, value = self.projections(x, angles)  # each (N, h, D)
        mixed: Tensor = self.mix_heads(attend(query, key, value, Reach()).flatten(1))
        return mixed


def nomic_tensors(config: RotaryEncoderConfig, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Module of ours → the published modules whose tensors, one below the other, are its own.

    Files of a dense model have the names that nomic published, or those of transformers 5: ``names`` decides which.
    """
    native = config.moe is None and any(name.startswith("layers.") for name in names)
    sources: dict[str, tuple[str, ...]] = {
        "encoder.words": ("embeddings.word_embeddings",),
        "encoder.types": ("embeddings.token_type_embeddings",),
        "encoder.norm": ("embeddings.LayerNorm" if native else "emb_ln",),
    }
    for index in range(config.layers):
        of_layer = _native_layer(f"layers.{index}") if native else _published_layer(f"encoder.layers.{index}", config)
        sources |= {f"encoder.layers.{index}.{ours}": theirs for ours, theirs in of_layer.items()}
    return sources


def _published_layer(layer: str, config: RotaryEncoderConfig) -> dict[str, tuple[str, ...]]:
    feed_forward: dict[str, tuple[str, ...]] = (
        {"joint": ("fc12", "fc11"), "outer": ("fc2",)}
        if config.feed_forward.gated
        else {"inner": ("fc1",), "outer": ("fc2",)}
    )
    experts = {
        "router": "router.layer",
        "w1": "experts.mlp.w1",
        "w2": "experts.mlp.w2",
        "bias": "experts.bias",
    }
    return {
        "projections.joint": (f"{layer}.attn.Wqkv",),
        "mix_heads": (f"{layer}.attn.out_proj",),
        "attention_norm": (f"{layer}.norm1",),
        "output_norm": (f"{layer}.norm2",),
        **{
            f"feed_forward.{ours}": tuple(f"{layer}.mlp.{name}" for name in names)
            for ours, names in feed_forward.items()
        },
        **{f"feed_forward.{ours}": (f"{layer}.mlp.{name}",) for ours, name in experts.items()},
    }


def _native_layer(layer: str) -> dict[str, tuple[str, ...]]:
    return {
        "projections.joint": tuple(f"{layer}.self_attn.{name}_proj" for name in "qkv"),
        "mix_heads": (f"{layer}.self_attn.o_proj",),
        "attention_norm": (f"{layer}.post_attention_layernorm",),
        "output_norm": (f"{layer}.post_mlp_layernorm",),
        "feed_forward.joint": (f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj"),
        "feed_forward.outer": (f"{layer}.mlp.down_proj",),
    }


def gte_tensors(config: RotaryEncoderConfig, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The same of gte, as published or with the names of transformers 5."""
    native = any(name.startswith("layers.") for name in names)
    sources: dict[str, tuple[str, ...]] = {
        "encoder.words": ("embeddings.word_embeddings",),
        "encoder.types": ("embeddings.token_type_embeddings",),
        "encoder.norm": ("embeddings.LayerNorm",),
    }
    for index in range(config.layers):
        if native:
            # The half that is activated comes second, as in the published product.
            of_layer = _native_layer(f"layers.{index}")
            of_layer["feed_forward.joint"] = of_layer["feed_forward.joint"][::-1]
        else:
            layer = f"encoder.layer.{index}"
            of_layer = {
                "projections.joint": (f"{layer}.attention.qkv_proj",),
                "mix_heads": (f"{layer}.attention.o_proj",),
                "attention_norm": (f"{layer}.attn_ln",),
                "output_norm": (f"{layer}.mlp_ln",),
                "feed_forward.joint": (f"{layer}.mlp.up_gate_proj",),
                "feed_forward.outer": (f"{layer}.mlp.down_proj",),
            }
        sources |= {f"encoder.layers.{index}.{ours}": theirs for ours, theirs in of_layer.items()}
    return sources
