"""Decoders as their config.json describes them: Llama, Mistral, Qwen 2 and 3, Gemma 1 and 3; see the package.

They are one architecture. What differs is stated here as data: which layers see how far, how rotary positions turn,
which norms and biases there are, and how Gemma scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from trivet.checkpoint.flat.fields import (
    LAYER_KINDS,
    Config,
    UnsupportedArchitecture,
    activation,
    flag,
    mapping,
    only,
    positive,
    size,
    stated_local_layers,
)
from trivet.checkpoint.flat.rotary import RotaryConfig, read_rotary, rotary_of
from trivet.checkpoint.native_config import native_config


@dataclass(frozen=True, slots=True)
class DecoderLayerConfig:
    """Where the layers of one decoder differ."""

    window: int | None
    """How many tokens before it a token sees, and as many behind it unless the decoder is causal; None: all."""
    rotary: RotaryConfig


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """A decoder: pre-norm layers, rotary positions, gated feed-forward, heads that share keys and values."""

    vocab_size: int
    hidden_size: int
    heads: int
    key_value_heads: int
    """Each serves as many of the heads."""
    head_size: int
    inner_size: int
    layers: tuple[DecoderLayerConfig, ...]
    max_tokens: int
    activation: str
    norm_eps: float
    causal: bool
    """Whether a token sees only itself and the tokens before it."""
    projection_bias: bool
    """Whether queries, keys and values have biases."""
    output_bias: bool
    """Whether the layer that mixes the heads has one."""
    mlp_bias: bool
    norms_queries: bool
    """Whether queries and keys are normed by head (Qwen 3, Gemma 3)."""
    is_gemma: bool
    """Whether norms multiply by 1 + weight, and embeddings by the root of the hidden size."""
    norms_outputs: bool
    """Whether attention and feed-forward have norms behind them too (Gemma 3)."""
    attention_scale: float
    """Factor of the products of queries and keys."""
    ties_words: bool
    """Whether the embeddings are also the language-model head, where the files hold none."""
    most_logit: float | None
    """Largest logit of a language-model head that squashes its logits."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Where the families differ; sizes are those of config.json, with transformers' defaults where it has none."""

    key_value_heads: int | None = None
    """None: as many as heads."""
    head_size: int | None = None
    """None: the heads share the hidden size."""
    activation: tuple[str, str] = ("hidden_act", "silu")
    """Field and default."""
    max_tokens: int = 32_768
    projection_bias: bool | None = None
    """None: as `attention_bias` says, in the output too."""
    has_mlp_bias: bool = False
    norms_queries: bool = False
    ties_words: bool = False


_FAMILIES: Final = {
    "llama": _Family(max_tokens=2048, has_mlp_bias=True),
    "mistral": _Family(key_value_heads=8, max_tokens=131_072, projection_bias=False),
    "qwen2": _Family(key_value_heads=32, projection_bias=True),
    "qwen3": _Family(key_value_heads=32, head_size=128, norms_queries=True),
    "gemma": _Family(
        key_value_heads=16, head_size=256, activation=("hidden_act", "gelu_pytorch_tanh"), max_tokens=8192,
        ties_words=True,
    ),
    "gemma3_text": _Family(
        key_value_heads=4, head_size=256, activation=("hidden_activation", "gelu_pytorch_tanh"), max_tokens=131_072,
        norms_queries=True, ties_words=True,
    ),
}  # fmt: skip
_OTHER_NAMES: Final = ("llama_bidirec",)
"""Model types that `native_config` translates into one of the families."""


def is_decoder(kind: Any) -> bool:
    """Whether a model type is one of these families."""
    return isinstance(kind, str) and (kind in _FAMILIES or kind in _OTHER_NAMES)


def read_decoder(config: Config) -> DecoderConfig:
    """Read the dimensions and choices of a decoder from its config.json.

    Raises:
        UnsupportedArchitecture: a field's value is not implemented.
        CheckpointMismatch: fields contradict each other, or leave open which tokens see each other.
    """
    config = native_config(config) or config
    kind = config["model_type"]
    family = _FAMILIES[kind]
    hidden = size(config, "hidden_size")
    heads = size(config, "num_attention_heads")
    key_value_heads = _key_value_heads(config, family, heads)
    head_size = size(config, "head_dim", default=family.head_size or max(1, hidden // heads))
    if head_size % 2:
        raise UnsupportedArchitecture(f"head_dim is {head_size}, and rotary positions turn pairs of channels")
    has_bias = flag(config, "attention_bias") if family.projection_bias is None else family.projection_bias
    max_tokens = size(config, "max_position_embeddings", default=family.max_tokens)
    only(config, "attn_logit_softcapping", None)
    is_gemma3 = kind == "gemma3_text"
    return DecoderConfig(
        vocab_size=size(config, "vocab_size"),
        hidden_size=hidden,
        heads=heads,
        key_value_heads=key_value_heads,
        head_size=head_size,
        inner_size=size(config, "intermediate_size"),
        layers=_gemma3_layers(config, max_tokens) if is_gemma3 else _layers(config, kind, max_tokens),
        max_tokens=max_tokens,
        activation=_activation(config, kind),
        norm_eps=positive(config, "rms_norm_eps", 1e-6),
        causal=_is_causal(config, kind),
        projection_bias=has_bias,
        output_bias=has_bias and family.projection_bias is None,
        mlp_bias=family.has_mlp_bias and flag(config, "mlp_bias"),
        norms_queries=family.norms_queries,
        is_gemma=kind in ("gemma", "gemma3_text"),
        norms_outputs=is_gemma3,
        attention_scale=positive(config, "query_pre_attn_scalar", 256) ** -0.5 if is_gemma3 else head_size**-0.5,
        ties_words=flag(config, "tie_word_embeddings", default=family.ties_words),
        most_logit=_most_logit(config, is_gemma3=is_gemma3),
    )


def _key_value_heads(config: Config, family: _Family, heads: int) -> int:
    found: int
    if config.get("num_key_value_heads", family.key_value_heads) is None:
        found = heads
    else:
        found = size(config, "num_key_value_heads", default=family.key_value_heads)
    if heads % found:
        raise UnsupportedArchitecture(f"num_key_value_heads is {found}, which {heads} heads cannot share")
    return found


def _activation(config: Config, kind: str) -> str:
    found = activation(config, *_FAMILIES[kind].activation)
    # The first releases of Gemma say gelu and mean its approximation, as transformers reads them.
    return "gelu_pytorch_tanh" if kind == "gemma" and found == "gelu" else found


def _most_logit(config: Config, *, is_gemma3: bool) -> float | None:
    if not is_gemma3:
        only(config, "final_logit_softcapping", None)
    stated = config.get("final_logit_softcapping")
    return None if stated is None else positive(config, "final_logit_softcapping")


def _is_causal(config: Config, kind: str) -> bool:
    if kind != "gemma3_text":
        return flag(config, "is_causal", default=True)
    only(config, "is_causal", True)
    stated = config.get("use_bidirectional_attention")
    return stated is None or not flag(config, "use_bidirectional_attention")


# ── layers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _layers(config: Config, kind: str, max_tokens: int) -> tuple[DecoderLayerConfig, ...]:
    """Of all families but Gemma 3: one form of rotary positions for all layers."""
    layers = size(config, "num_hidden_layers")
    rotary = read_rotary(config, default_base=10_000.0, max_tokens=max_tokens)
    if kind == "mistral":
        only(config, "layer_types", None)
        window = config.get("sliding_window", 4096)
        local = (window is not None,) * layers
    elif kind in ("qwen2", "qwen3"):
        window = config.get("sliding_window", 4096) if flag(config, "use_sliding_window") else None
        first = size(config, "max_window_layers", default=28, least=0)
        local = stated_local_layers(config, layers) or tuple(
            window is not None and index >= first for index in range(layers)
        )
    else:
        for name in ("sliding_window", "layer_types"):
            only(config, name, None)
        window, local = None, (False,) * layers
    reach = _reach(window, causal=_is_causal(config, kind)) if any(local) else None
    return tuple(DecoderLayerConfig(reach if is_local else None, rotary) for is_local in local)


def _reach(window: Any, *, causal: bool) -> int:
    """How far a token sees. In transformers a causal window counts the token itself, and one of two sides does not."""
    return size({"sliding_window": window}, "sliding_window") - causal


def _gemma3_layers(config: Config, max_tokens: int) -> tuple[DecoderLayerConfig, ...]:
    """Local and global layers with rotary positions of their own."""
    layers = size(config, "num_hidden_layers")
    local = stated_local_layers(config, layers)
    if local is None:
        only(config, "_sliding_window_pattern", None)
        pattern = size(config, "sliding_window_pattern", default=6)
        local = tuple((index + 1) % pattern != 0 for index in range(layers))
    causal = _is_causal(config, "gemma3_text")
    reach = _reach(config.get("sliding_window", 4096), causal=causal)
    # A window of both sides is stated as its whole width.
    reach = reach if causal else reach // 2
    of_local, of_global = (
        _gemma3_rotary(config, is_local=is_local, max_tokens=max_tokens) for is_local in (True, False)
    )
    return tuple(
        DecoderLayerConfig(reach, of_local) if is_local else DecoderLayerConfig(None, of_global) for is_local in local
    )


def _gemma3_rotary(config: Config, *, is_local: bool, max_tokens: int) -> RotaryConfig:
    of_kinds, scaling = mapping(config, "rope_parameters"), mapping(config, "rope_scaling")
    if unknown := sorted(set(of_kinds).difference(LAYER_KINDS)):
        raise UnsupportedArchitecture(
            f"rope_parameters has {', '.join(unknown)}; {' and '.join(LAYER_KINDS)} are known"
        )
    if of_kinds and scaling:
        raise UnsupportedArchitecture("rope_scaling and rope_parameters are both stated")
    kind, old_name, base = (
        ("sliding_attention", "rope_local_base_freq", 10_000.0)
        if is_local
        else ("full_attention", "rope_theta", 1_000_000.0)
    )
    stated = {**({} if is_local else scaling), **mapping(of_kinds, kind)}
    return rotary_of({"rope_theta": positive(config, old_name, base), **stated}, max_tokens)
