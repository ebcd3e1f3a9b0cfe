"""nomic-embed and gte as config.json describes them: post-norm encoders with rotary positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from trivet.checkpoint.flat.feed_forward import FeedForwardConfig
from trivet.checkpoint.flat.fields import (
    Config,
    UnsupportedArchitecture,
    activation,
    flag,
    head_count,
    mapping,
    only,
    positive,
    size,
)
from trivet.checkpoint.flat.rotary import RotaryConfig, default_rotary, read_rotary
from trivet.checkpoint.native_config import native_config
from trivet.checkpoint.nomic import FORMULA, NomicMoeConfig, is_nomic_moe


@dataclass(frozen=True, slots=True)
class RotaryEncoderConfig:
    """nomic-embed (v1.5, v2 MoE) and gte: post-norm layers and rotary positions."""

    naming: Literal["nomic", "gte"]
    """Whose names its tensors have."""
    vocab_size: int
    hidden_size: int
    heads: int
    inner_size: int
    layers: int
    token_types: int
    """0 where there is no table of them."""
    max_tokens: int
    norm_eps: float
    rotary: RotaryConfig
    attention_bias: bool
    feed_forward: FeedForwardConfig
    moe: NomicMoeConfig | None = None
    """Which layers have experts, and how many; None for a dense model."""

    @property
    def head_size(self) -> int:
        """Channels of an attention head."""
        return self.hidden_size // self.heads


# ── nomic ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_nomic(config: Config) -> RotaryEncoderConfig:
    """Read the config.json of nomic-embed; raises as `trivet.checkpoint.flat.encoders.read_encoder`."""
    if is_nomic_moe(config):
        return _nomic_moe(config)
    return _nomic_published(config) if "n_embd" in config else _nomic_native(config)


def _nomic_moe(config: Config) -> RotaryEncoderConfig:
    moe = NomicMoeConfig.from_json(config)
    return RotaryEncoderConfig(
        naming="nomic",
        vocab_size=moe.vocab_size,
        hidden_size=moe.hidden_size,
        heads=moe.heads,
        inner_size=moe.inner_size,
        layers=moe.layers,
        token_types=1,
        max_tokens=moe.max_positions,
        norm_eps=moe.layer_norm_eps,
        rotary=RotaryConfig(moe.rotary_base),
        attention_bias=True,
        feed_forward=FeedForwardConfig("gelu", gated=False, inner_bias=True, outer_bias=True),
        moe=moe,
    )


def _nomic_published(config: Config) -> RotaryEncoderConfig:
    """nomic-embed v1 and v1.5 as published, with GPT-2 style names; defaults are those of its remote code."""
    for name, values in FORMULA.items():
        only(config, name, *values)
    for name, value in (("activation_function", "swiglu"), ("rotary_emb_fraction", 1.0)):
        if config.get(name) != value:
            raise UnsupportedArchitecture(f"{name} is {config.get(name)!r}, only {value!r} is implemented")
    # The remote code would assume biases, and published files without them state it.
    unstated = [name for name in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias") if name not in config]
    if unstated:
        raise UnsupportedArchitecture(f"config.json states no {', '.join(unstated)}")
    mlp_bias = flag(config, "mlp_fc1_bias")
    if mlp_bias != flag(config, "mlp_fc2_bias"):
        raise UnsupportedArchitecture("mlp_fc1_bias and mlp_fc2_bias differ")
    hidden = size(config, "n_embd")
    vocabulary, multiple = size(config, "vocab_size"), size(config, "pad_vocab_size_multiple", default=1)
    return RotaryEncoderConfig(
        naming="nomic",
        vocab_size=-(-vocabulary // multiple) * multiple,
        hidden_size=hidden,
        heads=head_count(config, ("n_head",), hidden, even=True),
        inner_size=size(config, "n_inner"),
        layers=size(config, "n_layer"),
        token_types=size(config, "type_vocab_size", default=2),
        max_tokens=size(config, "max_trained_positions", "n_positions", default=2048),
        norm_eps=positive(config, "layer_norm_epsilon", 1e-5),
        rotary=RotaryConfig(positive(config, "rotary_emb_base")),
        attention_bias=flag(config, "qkv_proj_bias"),
        feed_forward=FeedForwardConfig("silu", gated=True, inner_bias=mlp_bias, outer_bias=mlp_bias),
    )


def _nomic_native(config: Config) -> RotaryEncoderConfig:
    """The same as transformers 5 writes it."""
    only(config, "hidden_act", "silu", "swish")
    only(config, "rope_scaling", None)
    rotary = mapping(config, "rope_parameters")
    default_rotary(rotary)
    hidden = size(config, "hidden_size", default=768)
    heads = head_count(config, ("num_attention_heads",), hidden, default=12, even=True)
    only(config, "head_dim", None, hidden // heads)
    return RotaryEncoderConfig(
        naming="nomic",
        vocab_size=size(config, "vocab_size", default=30_528),
        hidden_size=hidden,
        heads=heads,
        inner_size=size(config, "intermediate_size", default=3072),
        layers=size(config, "num_hidden_layers", default=12),
        token_types=size(config, "type_vocab_size", default=2),
        max_tokens=size(config, "max_position_embeddings", default=2048),
        norm_eps=positive(config, "layer_norm_eps", 1e-12),
        rotary=RotaryConfig(positive({"rope_theta": 1000.0, **config, **rotary}, "rope_theta")),
        attention_bias=False,
        feed_forward=FeedForwardConfig("silu", gated=True, inner_bias=False, outer_bias=False),
    )


# ── gte ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

GTE: Final = ("gte", "new")
"""One architecture: as transformers names it, and as Alibaba-NLP's remote code does."""


def read_gte(config: Config) -> RotaryEncoderConfig:
    """Read the config.json of a gte; raises as `trivet.checkpoint.flat.encoders.read_encoder`."""
    # Fields of the remote code, which transformers does not read. `native_config` checks those of `new`.
    only(config, "layer_norm_type", "layer_norm")
    only(config, "logn_attention_scale", False)
    only(config, "position_embedding_type", "rope")
    config = native_config(config) or config
    hidden = size(config, "hidden_size", default=768)
    heads = head_count(config, ("num_attention_heads",), hidden, default=12, even=True)
    only(config, "head_dim", hidden // heads)
    max_tokens = size(config, "max_position_embeddings", default=8192)
    return RotaryEncoderConfig(
        naming="gte",
        vocab_size=size(config, "vocab_size", default=250_048),
        hidden_size=hidden,
        heads=heads,
        inner_size=size(config, "intermediate_size", default=3072),
        layers=size(config, "num_hidden_layers", default=12),
        token_types=size(config, "type_vocab_size", default=1, least=0),
        max_tokens=max_tokens,
        norm_eps=positive(config, "layer_norm_eps", 1e-12),
        rotary=read_rotary(config, default_base=160_000.0, max_tokens=max_tokens),
        attention_bias=True,
        feed_forward=FeedForwardConfig(
            activation(config, "hidden_act", "gelu"),
            gated=True,
            inner_bias=False,
            outer_bias=True,
            activates_second=True,
        ),
    )
