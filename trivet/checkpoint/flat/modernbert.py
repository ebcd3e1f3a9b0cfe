"""ModernBERT as config.json describes it, in the form of transformers 5 and in the one before it."""

from __future__ import annotations

from dataclasses import dataclass

from trivet.checkpoint.flat.fields import (
    LAYER_KINDS,
    Config,
    UnsupportedArchitecture,
    activation,
    flag,
    head_count,
    mapping,
    only,
    positive,
    size,
    stated_local_layers,
)
from trivet.checkpoint.flat.rotary import default_rotary


@dataclass(frozen=True, slots=True)
class ModernBertConfig:
    """ModernBERT: pre-norm layers, rotary positions, and local attention in most layers."""

    vocab_size: int
    hidden_size: int
    heads: int
    inner_size: int
    layers: int
    reach_tokens: int
    """How many tokens to either side a local layer sees."""
    local_layers: tuple[bool, ...]
    """Per layer, whether its attention is local."""
    global_base: float
    local_base: float
    max_tokens: int
    activation: str
    norm_eps: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool

    @property
    def head_size(self) -> int:
        """Channels of an attention head."""
        return self.hidden_size // self.heads


def read_modernbert(config: Config) -> ModernBertConfig:
    """Read the config.json of a ModernBERT; raises as `trivet.checkpoint.flat.encoders.read_encoder`."""
    hidden = size(config, "hidden_size", default=768)
    heads = head_count(config, ("num_attention_heads",), hidden, default=12, even=True)
    layers = size(config, "num_hidden_layers", default=22)
    only(config, "head_dim", hidden // heads)
    window = size(config, "local_attention", default=128)
    return ModernBertConfig(
        vocab_size=size(config, "vocab_size", default=50_368),
        hidden_size=hidden,
        heads=heads,
        inner_size=size(config, "intermediate_size", default=1152),
        layers=layers,
        reach_tokens=window // 2,
        local_layers=_local_layers(config, layers),
        global_base=_base(config, "full_attention", "global_rope_theta", 160_000.0),
        local_base=_base(config, "sliding_attention", "local_rope_theta", 10_000.0),
        max_tokens=size(config, "max_position_embeddings", default=8192),
        activation=activation(config, "hidden_activation", "gelu"),
        norm_eps=positive(config, "norm_eps", 1e-5),
        norm_bias=flag(config, "norm_bias"),
        attention_bias=flag(config, "attention_bias"),
        mlp_bias=flag(config, "mlp_bias"),
    )


def _local_layers(config: Config, layers: int) -> tuple[bool, ...]:
    stated = stated_local_layers(config, layers)
    if stated is not None:
        return stated
    every = size(config, "global_attn_every_n_layers", default=3)
    return tuple(index % every != 0 for index in range(layers))


def _base(config: Config, kind: str, old_name: str, default: float) -> float:
    """The base of the rotary angles of one kind of layer, in the form of transformers 5 or in the one before it."""
    if config.get("rope_scaling"):
        raise UnsupportedArchitecture("rotary positions are scaled (rope_scaling)")
    of_kinds = mapping(config, "rope_parameters")
    unknown = sorted(set(of_kinds).difference(LAYER_KINDS))
    if unknown:
        raise UnsupportedArchitecture(
            f"rope_parameters has {', '.join(unknown)}; full_ and sliding_attention are known"
        )
    stated = mapping(of_kinds, kind)
    default_rotary(stated)
    return positive(stated, "rope_theta") if "rope_theta" in stated else positive(config, old_name, default)
