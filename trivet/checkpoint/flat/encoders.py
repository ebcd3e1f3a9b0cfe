"""Encoders as their config.json describes them: a module for each family; see the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from trivet.checkpoint.flat.bert import BERT_LIKE, BertConfig, read_bert, read_distilbert
from trivet.checkpoint.flat.fields import Config
from trivet.checkpoint.flat.modernbert import ModernBertConfig, read_modernbert
from trivet.checkpoint.flat.rotary_encoder import GTE, RotaryEncoderConfig, read_gte, read_nomic

EncoderConfig: TypeAlias = BertConfig | ModernBertConfig | RotaryEncoderConfig

_READERS: Final[dict[str, Callable[[Config], EncoderConfig]]] = {
    **dict.fromkeys(BERT_LIKE, read_bert),
    "distilbert": read_distilbert,
    "modernbert": read_modernbert,
    "nomic_bert": read_nomic,
    **dict.fromkeys(GTE, read_gte),
}
"""Model type → what reads its config.json."""


def is_encoder(kind: Any) -> bool:
    """Whether a model type is one of these families."""
    return isinstance(kind, str) and kind in _READERS


def read_encoder(config: Config) -> EncoderConfig:
    """Read the dimensions and choices of an encoder from its config.json.

    Raises:
        UnsupportedArchitecture: a field's value is not implemented.
        CheckpointMismatch: the config calls itself a nomic v2 MoE or a `new` and differs from what is implemented.
    """
    return _READERS[config["model_type"]](config)
