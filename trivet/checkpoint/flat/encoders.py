"""Encoders as their config.json describes them: the BERT family, ModernBERT, nomic and gte; see the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from trivet.checkpoint.architecture import POSITIONS_AFTER_PADDING
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
from trivet.checkpoint.flat.rotary import RotaryConfig, default_rotary, read_rotary
from trivet.checkpoint.native_config import native_config
from trivet.checkpoint.nomic import FORMULA, NomicMoeConfig, is_nomic_moe


@dataclass(frozen=True, slots=True)
class BertConfig:
    """An encoder of the BERT family: post-norm layers and learned positions."""

    naming: Literal["bert", "distilbert"]
    """Whose names its tensors have."""
    prefix: str
    """What a checkpoint with a head puts before the encoder's tensors."""
    vocab_size: int
    hidden_size: int
    embedding_size: int
    """Differs from `hidden_size` for small Electras, which project their embeddings."""
    heads: int
    inner_size: int
    layers: int
    positions: int
    """Rows of the position table."""
    padding_id: int | None
    """Where the table's rows are counted from the one behind this id, and tokens of this id are not counted; None:
    they are counted from 0."""
    token_types: int
    """0 where there is no table of them."""
    activation: str
    norm_eps: float

    @property
    def head_size(self) -> int:
        """Channels of an attention head."""
        return self.hidden_size // self.heads

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest sequence that has a position for each."""
        return self.positions - (0 if self.padding_id is None else self.padding_id + 1)


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


@dataclass(frozen=True, slots=True)
class FeedForwardConfig:
    """A feed-forward block; gated (GLU) ones multiply the activation by a second product."""

    activation: str
    gated: bool
    inner_bias: bool
    outer_bias: bool
    activates_second: bool = False
    """Of a gated block, whether the second half of the joint product is activated instead of the first."""


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


EncoderConfig: TypeAlias = BertConfig | ModernBertConfig | RotaryEncoderConfig


def is_encoder(kind: Any) -> bool:
    """Whether a model type is one of these families."""
    return isinstance(kind, str) and (kind in BERT_LIKE or kind in ("distilbert", "modernbert", "nomic_bert", *GTE))


def read_encoder(config: Config) -> EncoderConfig:
    """Read the dimensions and choices of an encoder from its config.json.

    Raises:
        UnsupportedArchitecture: a field's value is not implemented.
        CheckpointMismatch: the config calls itself a nomic v2 MoE or a `new` and differs from what is implemented.
    """
    kind = config["model_type"]
    if kind == "nomic_bert":
        if is_nomic_moe(config):
            return _nomic_moe(config)
        return _nomic_published(config) if "n_embd" in config else _nomic_native(config)
    if kind == "modernbert":
        return _modernbert(config)
    if kind == "distilbert":
        return _distilbert(config)
    return _gte(config) if kind in GTE else _bert(config, kind)


# ── the BERT family ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Family:
    """Where the members of the BERT family differ, beside the sizes."""

    prefix: str
    default_sizes: tuple[int, int, int] = (768, 12, 3072)
    """Hidden size, heads and inner size where config.json names none."""
    default_embedding_size: int | None = None
    """None: as the hidden size."""


_ROBERTA = _Family("roberta.")
BERT_LIKE: Final = {
    "bert": _Family("bert."),
    "electra": _Family("electra.", default_sizes=(256, 4, 1024), default_embedding_size=128),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}
"""Model types of one architecture."""


def _bert(config: Config, kind: str) -> BertConfig:
    family = BERT_LIKE[kind]
    only(config, "is_decoder", False)
    only(config, "add_cross_attention", False)
    only(config, "position_embedding_type", "absolute")
    hidden_size, heads, inner_size = family.default_sizes
    hidden = size(config, "hidden_size", default=hidden_size)
    embedding = family.default_embedding_size
    return BertConfig(
        naming="bert",
        prefix=family.prefix,
        vocab_size=size(config, "vocab_size"),
        hidden_size=hidden,
        embedding_size=size(config, "embedding_size", default=embedding) if embedding else hidden,
        heads=head_count(config, ("num_attention_heads",), hidden, default=heads),
        inner_size=size(config, "intermediate_size", default=inner_size),
        layers=size(config, "num_hidden_layers", default=12),
        positions=size(config, "max_position_embeddings", default=512),
        padding_id=_padding_id(config) if kind in POSITIONS_AFTER_PADDING else None,
        token_types=size(config, "type_vocab_size", default=2),
        activation=activation(config, "hidden_act", "gelu"),
        norm_eps=positive(config, "layer_norm_eps", 1e-12),
    )


def _padding_id(config: Config) -> int:
    """The default is that of the classes in transformers."""
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int) or padding < 0:
        raise UnsupportedArchitecture(f"pad_token_id is {padding!r}, and positions begin after it")
    return padding


def _distilbert(config: Config) -> BertConfig:
    hidden = size(config, "dim", "hidden_size", default=768)
    return BertConfig(
        naming="distilbert",
        prefix="distilbert.",
        vocab_size=size(config, "vocab_size", default=30_522),
        hidden_size=hidden,
        embedding_size=hidden,
        heads=head_count(config, ("n_heads", "num_attention_heads"), hidden, default=12),
        inner_size=size(config, "hidden_dim", default=3072),
        layers=size(config, "n_layers", "num_hidden_layers", default=6),
        positions=size(config, "max_position_embeddings", default=512),
        padding_id=None,
        token_types=0,
        activation=activation(config, "activation", "gelu"),
        norm_eps=1e-12,  # no field: transformers has the number in its code
    )


# ── ModernBERT ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _modernbert(config: Config) -> ModernBertConfig:
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
        global_base=_modernbert_base(config, "full_attention", "global_rope_theta", 160_000.0),
        local_base=_modernbert_base(config, "sliding_attention", "local_rope_theta", 10_000.0),
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


def _modernbert_base(config: Config, kind: str, old_name: str, default: float) -> float:
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


# ── nomic ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def _gte(config: Config) -> RotaryEncoderConfig:
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
