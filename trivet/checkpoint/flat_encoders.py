"""Which checkpoints the modules of `trivet.engine.models.flat` compute, and with which sizes and formulas.

`Architecture` of `trivet.checkpoint.architecture` states facts about any encoder. This module is strict instead: fields
keep transformers' names and defaults, since a published config.json leaves out what equals a default, and every field
that would choose another formula than the one implemented is checked. What is not implemented is refused with a reason,
and its caller keeps the path through transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from trivet.checkpoint.architecture import POSITIONS_AFTER_PADDING
from trivet.checkpoint.files import read_config
from trivet.checkpoint.m3 import M3Heads
from trivet.checkpoint.modules import read_modules
from trivet.checkpoint.nomic import FORMULA, NomicMoeConfig, is_nomic_moe
from trivet.config import Task
from trivet.errors import ModelError

Config: TypeAlias = Mapping[str, Any]
Pool = Literal["cls", "mean"]

ACTIVATION_NAMES: Final = frozenset(
    {"gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"}
)
"""Point-wise functions by transformers' names; `trivet.engine.models.flat.layers.ACTIVATIONS` computes them."""


class UnsupportedArchitecture(ModelError):
    """A checkpoint that the flat modules do not compute; the message names the field and its value."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """A classification head: pool, dense, activation, for some a norm, then one logit per label."""

    labels: int
    activation: str
    pool: Pool = "cls"
    dense_bias: bool = True
    norm: bool = False
    norm_bias: bool = False
    norm_eps: float = 1e-5


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
    first_position: int
    """The row of a sequence's first token."""
    token_types: int
    """0 where there is no table of them."""
    activation: str
    norm_eps: float
    head: HeadConfig | None
    head_tensors: tuple[str, str]
    """Published names of the head's dense layer and of its last one."""

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest sequence that has a position for each."""
        return self.positions - self.first_position


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
    head: HeadConfig | None


@dataclass(frozen=True, slots=True)
class NomicConfig:
    """nomic-embed v1.5 (gated feed-forward) and v2 MoE: post-norm layers and rotary positions."""

    vocab_size: int
    hidden_size: int
    heads: int
    inner_size: int
    layers: int
    token_types: int
    max_tokens: int
    norm_eps: float
    rotary_base: float
    attention_bias: bool
    mlp_bias: bool
    gated: bool
    """Whether the feed-forward is SwiGLU; plain GELU otherwise."""
    moe: NomicMoeConfig | None
    """Which layers have experts, and how many; None for a dense model."""


FlatConfig: TypeAlias = BertConfig | ModernBertConfig | NomicConfig


def padded_because(model_dir: Path, task: Task, recipe: str | None = None) -> str | None:
    """Return why a GPU computes a checkpoint on padded sequences, through transformers; None where it does not.

    Raises:
        ModelError: a file of the checkpoint cannot be read.
    """
    reason = unsupported_reason(read_config(model_dir), task)
    if reason is not None:
        return reason
    modules = read_modules(model_dir, task, recipe)
    if modules.splade or modules.token_steps or M3Heads.read(model_dir):
        return "it gives more than one vector or number of a text"
    further = [type(step).__name__ for step in (*modules.steps_before_windows, modules.score) if step is not None]
    if further:
        return f"its modules.json has more than a transformer and pooling: {', '.join(further)}"
    return None


def unsupported_reason(config: Config, task: Task) -> str | None:
    """Why the flat modules do not compute this config.json for this task; None where they do."""
    try:
        read_flat_config(config, task)
    except ModelError as error:
        return error.message
    return None


def read_flat_config(config: Config, task: Task) -> FlatConfig:
    """Dimensions and choices of a checkpoint, from its config.json.

    Raises:
        UnsupportedArchitecture: the model type, or a field's value, is not implemented for this task.
        CheckpointMismatch: the config calls itself a nomic v2 MoE and differs from what is implemented.
    """
    kind = config.get("model_type")
    if config.get("quantization_config"):
        raise UnsupportedArchitecture("its weights are quantised (quantization_config)")
    if kind == "nomic_bert":
        if task != "embedder":
            raise UnsupportedArchitecture(f"the model type is {kind!r}, an embedder's; it cannot serve as a {task}")
        if is_nomic_moe(config):
            return _nomic_moe(config)
        return _nomic_published(config) if "n_embd" in config else _nomic_native(config)
    if kind == "modernbert":
        return _modernbert(config, task)
    if kind == "distilbert":
        return _distilbert(config, task)
    if isinstance(kind, str) and kind in _BERT_LIKE:
        return _bert(config, task, kind)
    raise UnsupportedArchitecture(f"the model type is {kind!r}")


# ── the BERT family ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Family:
    """Where the members of the BERT family differ, beside the sizes."""

    prefix: str
    head_tensors: tuple[str, str]
    head_activation: str
    default_sizes: tuple[int, int, int] = (768, 12, 3072)
    """Hidden size, heads and inner size where config.json names none."""
    default_embedding_size: int | None = None
    """None: as the hidden size."""


_ROBERTA = _Family("roberta.", ("classifier.dense", "classifier.out_proj"), "tanh")
_BERT_LIKE: Final = {
    "bert": _Family("bert.", ("pooler.dense", "classifier"), "tanh"),
    "electra": _Family(
        "electra.",
        ("classifier.dense", "classifier.out_proj"),
        "gelu",
        default_sizes=(256, 4, 1024),
        default_embedding_size=128,
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}


def _bert(config: Config, task: Task, kind: str) -> BertConfig:
    family = _BERT_LIKE[kind]
    _only(config, "is_decoder", False)
    _only(config, "add_cross_attention", False)
    _only(config, "position_embedding_type", "absolute")
    hidden_size, heads, inner_size = family.default_sizes
    hidden = _size(config, "hidden_size", default=hidden_size)
    embedding = family.default_embedding_size
    return BertConfig(
        naming="bert",
        prefix=family.prefix,
        vocab_size=_size(config, "vocab_size"),
        hidden_size=hidden,
        embedding_size=_size(config, "embedding_size", default=embedding) if embedding else hidden,
        heads=_heads(config, ("num_attention_heads",), hidden, default=heads),
        inner_size=_size(config, "intermediate_size", default=inner_size),
        layers=_size(config, "num_hidden_layers", default=12),
        positions=_size(config, "max_position_embeddings", default=512),
        first_position=_after_padding(config) if kind in POSITIONS_AFTER_PADDING else 0,
        token_types=_size(config, "type_vocab_size", default=2),
        activation=_activation(config, "hidden_act", "gelu"),
        norm_eps=_positive(config, "layer_norm_eps", 1e-12),
        head=None if task == "embedder" else HeadConfig(_labels(config), family.head_activation),
        head_tensors=family.head_tensors,
    )


def _after_padding(config: Config) -> int:
    """The position after the padding id; the default is that of the classes in transformers."""
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int) or padding < 0:
        raise UnsupportedArchitecture(f"pad_token_id is {padding!r}, and positions begin after it")
    return padding + 1


def _distilbert(config: Config, task: Task) -> BertConfig:
    hidden = _size(config, "dim", "hidden_size", default=768)
    return BertConfig(
        naming="distilbert",
        prefix="distilbert.",
        vocab_size=_size(config, "vocab_size", default=30_522),
        hidden_size=hidden,
        embedding_size=hidden,
        heads=_heads(config, ("n_heads", "num_attention_heads"), hidden, default=12),
        inner_size=_size(config, "hidden_dim", default=3072),
        layers=_size(config, "n_layers", "num_hidden_layers", default=6),
        positions=_size(config, "max_position_embeddings", default=512),
        first_position=0,
        token_types=0,
        activation=_activation(config, "activation", "gelu"),
        norm_eps=1e-12,  # no field: transformers has the number in its code
        head=None if task == "embedder" else HeadConfig(_labels(config), "relu"),
        head_tensors=("pre_classifier", "classifier"),
    )


# ── ModernBERT ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _modernbert(config: Config, task: Task) -> ModernBertConfig:
    hidden = _size(config, "hidden_size", default=768)
    heads = _heads(config, ("num_attention_heads",), hidden, default=12, even=True)
    layers = _size(config, "num_hidden_layers", default=22)
    _only(config, "head_dim", hidden // heads)
    window = _size(config, "local_attention", default=128)
    norm_eps, norm_bias = _positive(config, "norm_eps", 1e-5), _flag(config, "norm_bias")
    return ModernBertConfig(
        vocab_size=_size(config, "vocab_size", default=50_368),
        hidden_size=hidden,
        heads=heads,
        inner_size=_size(config, "intermediate_size", default=1152),
        layers=layers,
        reach_tokens=window // 2,
        local_layers=_local_layers(config, layers),
        global_base=_modernbert_base(config, "full_attention", "global_rope_theta", 160_000.0),
        local_base=_modernbert_base(config, "sliding_attention", "local_rope_theta", 10_000.0),
        max_tokens=_size(config, "max_position_embeddings", default=8192),
        activation=_activation(config, "hidden_activation", "gelu"),
        norm_eps=norm_eps,
        norm_bias=norm_bias,
        attention_bias=_flag(config, "attention_bias"),
        mlp_bias=_flag(config, "mlp_bias"),
        head=None if task == "embedder" else _modernbert_head(config, norm_eps, norm_bias),
    )


def _modernbert_head(config: Config, norm_eps: float, norm_bias: bool) -> HeadConfig:
    pool: Any = config.get("classifier_pooling", "cls")
    if pool not in ("cls", "mean"):
        raise UnsupportedArchitecture(f"classifier_pooling is {pool!r}; cls and mean are implemented")
    return HeadConfig(
        labels=_labels(config),
        activation=_activation(config, "classifier_activation", "gelu"),
        pool=pool,
        dense_bias=_flag(config, "classifier_bias"),
        norm=True,
        norm_bias=norm_bias,
        norm_eps=norm_eps,
    )


_LAYER_KINDS: Final = ("full_attention", "sliding_attention")


def _local_layers(config: Config, layers: int) -> tuple[bool, ...]:
    kinds = config.get("layer_types")
    if kinds is None:
        every = _size(config, "global_attn_every_n_layers", default=3)
        return tuple(index % every != 0 for index in range(layers))
    if not isinstance(kinds, list) or len(kinds) != layers or any(kind not in _LAYER_KINDS for kind in kinds):
        raise UnsupportedArchitecture(f"layer_types are {kinds!r} for {layers} layers")
    return tuple(kind == "sliding_attention" for kind in kinds)


def _modernbert_base(config: Config, kind: str, old_name: str, default: float) -> float:
    """The base of the rotary angles of one kind of layer, in the form of transformers 5 or in the one before it."""
    if config.get("rope_scaling"):
        raise UnsupportedArchitecture("rotary positions are scaled (rope_scaling)")
    of_kinds = _mapping(config, "rope_parameters")
    unknown = sorted(set(of_kinds).difference(_LAYER_KINDS))
    if unknown:
        raise UnsupportedArchitecture(
            f"rope_parameters has {', '.join(unknown)}; full_ and sliding_attention are known"
        )
    stated = _mapping(of_kinds, kind)
    _default_rotary(stated)
    return _positive({"rope_theta": config.get(old_name, default), **stated}, "rope_theta")


# ── nomic ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _nomic_moe(config: Config) -> NomicConfig:
    moe = NomicMoeConfig.from_json(config)
    return NomicConfig(
        vocab_size=moe.vocab_size,
        hidden_size=moe.hidden_size,
        heads=moe.heads,
        inner_size=moe.inner_size,
        layers=moe.layers,
        token_types=1,
        max_tokens=moe.max_positions,
        norm_eps=moe.layer_norm_eps,
        rotary_base=moe.rotary_base,
        attention_bias=True,
        mlp_bias=True,
        gated=False,
        moe=moe,
    )


def _nomic_published(config: Config) -> NomicConfig:
    """nomic-embed v1 and v1.5 as published, with GPT-2 style names; defaults are those of its remote code."""
    for name, values in FORMULA.items():
        _only(config, name, *values)
    for name, value in (("activation_function", "swiglu"), ("rotary_emb_fraction", 1.0)):
        if config.get(name) != value:
            raise UnsupportedArchitecture(f"{name} is {config.get(name)!r}, only {value!r} is implemented")
    mlp_bias = _flag(config, "mlp_fc1_bias", default=True)
    if mlp_bias != _flag(config, "mlp_fc2_bias", default=True):
        raise UnsupportedArchitecture("mlp_fc1_bias and mlp_fc2_bias differ")
    hidden = _size(config, "n_embd")
    vocabulary, multiple = _size(config, "vocab_size"), _size(config, "pad_vocab_size_multiple", default=1)
    return NomicConfig(
        vocab_size=-(-vocabulary // multiple) * multiple,
        hidden_size=hidden,
        heads=_heads(config, ("n_head",), hidden, even=True),
        inner_size=_size(config, "n_inner"),
        layers=_size(config, "n_layer"),
        token_types=_size(config, "type_vocab_size", default=2),
        max_tokens=_size(config, "max_trained_positions", "n_positions", default=2048),
        norm_eps=_positive(config, "layer_norm_epsilon", 1e-5),
        rotary_base=_positive(config, "rotary_emb_base"),
        attention_bias=_flag(config, "qkv_proj_bias", default=True),
        mlp_bias=mlp_bias,
        gated=True,
        moe=None,
    )


def _nomic_native(config: Config) -> NomicConfig:
    """The same as transformers 5 writes it."""
    _only(config, "hidden_act", "silu", "swish")
    _only(config, "rope_scaling", None)
    rotary = _mapping(config, "rope_parameters")
    _default_rotary(rotary)
    hidden = _size(config, "hidden_size", default=768)
    heads = _heads(config, ("num_attention_heads",), hidden, default=12, even=True)
    _only(config, "head_dim", None, hidden // heads)
    return NomicConfig(
        vocab_size=_size(config, "vocab_size", default=30_528),
        hidden_size=hidden,
        heads=heads,
        inner_size=_size(config, "intermediate_size", default=3072),
        layers=_size(config, "num_hidden_layers", default=12),
        token_types=_size(config, "type_vocab_size", default=2),
        max_tokens=_size(config, "max_position_embeddings", default=2048),
        norm_eps=_positive(config, "layer_norm_eps", 1e-12),
        rotary_base=_positive({"rope_theta": 1000.0, **config, **rotary}, "rope_theta"),
        attention_bias=False,
        mlp_bias=False,
        gated=True,
        moe=None,
    )


# ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _only(config: Config, name: str, *allowed: Any) -> None:
    """Refuse a field that is there with another value than these."""
    if name in config and config[name] not in allowed:
        values = " or ".join(map(repr, allowed))
        raise UnsupportedArchitecture(f"{name} is {config[name]!r}, only {values} is implemented")


def _mapping(config: Config, name: str) -> Config:
    """A field that is an object; null and absent mean an empty one."""
    value = config.get(name) or {}
    if not isinstance(value, Mapping):
        raise UnsupportedArchitecture(f"{name} is {value!r}, not an object")
    return value


def _default_rotary(stated: Mapping[str, Any]) -> None:
    kind = stated.get("rope_type", stated.get("type", "default"))
    if kind != "default":
        raise UnsupportedArchitecture(f"rotary positions are of type {kind!r}, only 'default' is implemented")
    _only(stated, "partial_rotary_factor", None, 1.0)


def _size(config: Config, *names: str, default: int | None = None) -> int:
    """The first of these fields that is there: a positive whole number."""
    value = next((config[name] for name in names if config.get(name) is not None), default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UnsupportedArchitecture(f"{names[0]} is {value!r}, not a positive whole number")
    return value


def _positive(config: Config, name: str, default: float | None = None) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise UnsupportedArchitecture(f"{name} is {value!r}, not a positive number")
    return float(value)


def _flag(config: Config, name: str, default: bool = False) -> bool:
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise UnsupportedArchitecture(f"{name} is {value!r}, not true or false")
    return value


def _heads(
    config: Config, names: tuple[str, ...], hidden_size: int, *, default: int | None = None, even: bool = False
) -> int:
    """The number of attention heads; `even` where rotary positions turn pairs of a head's channels."""
    heads = _size(config, *names, default=default)
    if hidden_size % (heads * (2 if even else 1)):
        kind = "of even size " if even else ""
        raise UnsupportedArchitecture(f"{hidden_size} channels do not give {heads} heads {kind}({names[0]})")
    return heads


def _activation(config: Config, name: str, default: str) -> str:
    value = config.get(name, default)
    if not isinstance(value, str) or value not in ACTIVATION_NAMES:
        raise UnsupportedArchitecture(f"{name} is {value!r}; implemented are {', '.join(sorted(ACTIVATION_NAMES))}")
    return value


def _labels(config: Config) -> int:
    """How many logits a head has: transformers counts the labels, and assumes two where none are named."""
    labels = _mapping(config, "id2label")
    return len(labels) if labels else _size(config, "num_labels", default=2)
