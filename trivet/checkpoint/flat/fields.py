"""Reads fields of config.json strictly: a value that is not implemented is refused, with the field's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from trivet.errors import ModelError

Config: TypeAlias = Mapping[str, Any]

ACTIVATION_NAMES: Final = frozenset(
    {"gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"}
)
"""Point-wise functions by transformers' names; `trivet.engine.models.flat.layers.ACTIVATIONS` computes them."""

LAYER_KINDS: Final = ("full_attention", "sliding_attention")


class UnsupportedArchitecture(ModelError):
    """A checkpoint that the flat modules do not compute; the message names the field and its value."""


def only(config: Config, name: str, *allowed: Any) -> None:
    """Refuse a field that is there with another value than these."""
    if name in config and config[name] not in allowed:
        values = " or ".join(map(repr, allowed))
        raise UnsupportedArchitecture(f"{name} is {config[name]!r}, only {values} is implemented")


def mapping(config: Config, name: str) -> Config:
    """Read a field that is an object; null and absent mean an empty one."""
    value = config.get(name) or {}
    if not isinstance(value, Mapping):
        raise UnsupportedArchitecture(f"{name} is {value!r}, not an object")
    return value


def size(config: Config, *names: str, default: int | None = None, least: int = 1) -> int:
    """Read the first of these fields that is there: a whole number, positive unless `least` is 0."""
    value = next((config[name] for name in names if config.get(name) is not None), default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        kind = "a positive whole number" if least else "a whole number from 0 on"
        raise UnsupportedArchitecture(f"{names[0]} is {value!r}, not {kind}")
    return value


def positive(config: Config, name: str, default: float | None = None) -> float:
    """Read a positive, finite number."""
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise UnsupportedArchitecture(f"{name} is {value!r}, not a positive number")
    return float(value)


def flag(config: Config, name: str, default: bool = False) -> bool:
    """Read true or false."""
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise UnsupportedArchitecture(f"{name} is {value!r}, not true or false")
    return value


def head_count(
    config: Config, names: tuple[str, ...], hidden_size: int, *, default: int | None = None, even: bool = False
) -> int:
    """Read the number of attention heads; `even` where rotary positions turn pairs of a head's channels."""
    heads = size(config, *names, default=default)
    if hidden_size % (heads * (2 if even else 1)):
        kind = "of even size " if even else ""
        raise UnsupportedArchitecture(f"{hidden_size} channels do not give {heads} heads {kind}({names[0]})")
    return heads


def activation(config: Config, name: str, default: str) -> str:
    """Read the name of a point-wise function."""
    value = config.get(name, default)
    if not isinstance(value, str) or value not in ACTIVATION_NAMES:
        raise UnsupportedArchitecture(f"{name} is {value!r}; implemented are {', '.join(sorted(ACTIVATION_NAMES))}")
    return value


def label_count(config: Config) -> int:
    """Read how many logits a head has: transformers counts the labels, and assumes two where none are named."""
    labels = mapping(config, "id2label")
    if labels:
        only(config, "num_labels", None, len(labels))
        return len(labels)
    return size(config, "num_labels", default=2)


def stated_local_layers(config: Config, layers: int) -> tuple[bool, ...] | None:
    """Read which layers attend within a window only, if `layer_types` says it for each."""
    kinds = config.get("layer_types")
    if kinds is None:
        return None
    if not isinstance(kinds, list) or len(kinds) != layers or any(kind not in LAYER_KINDS for kind in kinds):
        raise UnsupportedArchitecture(f"layer_types are {kinds!r} for {layers} layers")
    return tuple(kind == "sliding_attention" for kind in kinds)
