"""Reads how rotary positions turn: their base, and what stretches them to longer texts.

config.json states it in one of two forms: `rope_parameters` as transformers 5 writes it, or `rope_theta` and
`rope_scaling` as it was before. Angles that depend on the longest text of a batch (LongRoPE, dynamic NTK) are not
computed by the flat modules, nor are fields that these formulas do not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

from trivet.checkpoint.flat.fields import Config, UnsupportedArchitecture, mapping, only, positive


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """All frequencies are divided by one factor."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Frequencies that turn rarely within the trained length are divided; between two bounds the change is gradual."""

    factor: float
    low_turns: float
    """Turns within the trained length below which a frequency is divided (`low_freq_factor`)."""
    high_turns: float
    """Turns above which it is kept (`high_freq_factor`)."""
    trained_tokens: float


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """As Llama 3's, with a ramp over channels instead of wavelengths (Peng et al. 2023, "YaRN")."""

    factor: float
    low_turns: float
    """`beta_slow`"""
    high_turns: float
    """`beta_fast`"""
    trained_tokens: float
    amplitude: float
    """Factor of the cosines and sines."""


Scaling: TypeAlias = LinearScaling | Llama3Scaling | YarnScaling


@dataclass(frozen=True, slots=True)
class RotaryConfig:
    """The angle of position p and pair i is ``p · base^(-2i / head size)``, changed by a scaling."""

    base: float
    scaling: Scaling | None = None


_OF_ALL_KINDS: Final = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})
_OF_KIND: Final = {
    "default": frozenset[str](),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}),
    "yarn": frozenset({"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow"}),
}
"""Kind → the fields that its formula has."""


def read_rotary(config: Config, *, default_base: float, max_tokens: int) -> RotaryConfig:
    """Read the rotary positions of a model whose layers all have the same.

    Args:
        config: the content of config.json.
        default_base: where no field states one.
        max_tokens: positions that the model has, which a scaling takes for the trained ones if it names none.
    """
    only(config, "partial_rotary_factor", None, 1.0)
    only(config, "original_max_position_embeddings", None)
    both = [name for name in ("rope_scaling", "rope_parameters") if mapping(config, name)]
    if len(both) > 1:
        raise UnsupportedArchitecture("rope_scaling and rope_parameters are both stated")
    stated = mapping(config, both[0]) if both else {}
    return rotary_of({"rope_theta": config.get("rope_theta", default_base), **stated}, max_tokens)


def rotary_of(stated: Config, max_tokens: int) -> RotaryConfig:
    """Read one object of rotary positions, with its `rope_theta`; see `read_rotary`."""
    kind = stated.get("rope_type", stated.get("type", "default"))
    if not isinstance(kind, str) or kind not in _OF_KIND:
        raise UnsupportedArchitecture(
            f"rotary positions are of type {kind!r}; implemented are {', '.join(sorted(_OF_KIND))}"
        )
    only(stated, "partial_rotary_factor", None, 1.0)
    if unknown := sorted(set(stated) - _OF_ALL_KINDS - _OF_KIND[kind]):
        raise UnsupportedArchitecture(f"rotary positions of type {kind!r} have {', '.join(unknown)}")
    return RotaryConfig(positive(stated, "rope_theta"), _scaling(kind, stated, max_tokens))


def default_rotary(stated: Config) -> None:
    """Refuse rotary positions that are scaled, for modules that are not tried with them."""
    kind = stated.get("rope_type", stated.get("type", "default"))
    if kind != "default":
        raise UnsupportedArchitecture(f"rotary positions are of type {kind!r}, only 'default' is implemented")
    only(stated, "partial_rotary_factor", None, 1.0)


def _scaling(kind: str, stated: Config, max_tokens: int) -> Scaling | None:
    if kind == "default":
        return None
    factor = positive(stated, "factor")
    if kind == "linear":
        return LinearScaling(factor)
    trained_tokens = positive(stated, "original_max_position_embeddings", max_tokens)
    if kind == "yarn":
        amplitude = 1.0 if factor <= 1 else 0.1 * math.log(factor) + 1.0
        if stated.get("attention_factor") is not None:
            amplitude = positive(stated, "attention_factor")
        # As in transformers, null and 0 mean the default.
        high, low = (
            positive({name: stated.get(name) or usual}, name) for name, usual in (("beta_fast", 32), ("beta_slow", 1))
        )
        return YarnScaling(factor, low, high, trained_tokens, amplitude)
    low, high = positive(stated, "low_freq_factor"), positive(stated, "high_freq_factor")
    if low >= high:
        raise UnsupportedArchitecture(f"low_freq_factor is {low}, not below high_freq_factor ({high})")
    return Llama3Scaling(factor, low, high, trained_tokens)
