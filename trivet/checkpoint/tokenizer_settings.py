"""Reads what a checkpoint's files say about its tokenizer besides `tokenizer.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trivet.checkpoint.files import read_object
from trivet.checkpoint.modules import read_transformer_settings

_BERT_CLASSES = frozenset({"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MPNetTokenizer"})
_BERT_TYPES = frozenset({"bert", "distilbert", "electra", "mpnet"})


@dataclass(frozen=True, slots=True)
class BertNormalization:
    """How a tokenizer of BERT's classes treats letters; transformers prefers it to what tokenizer.json says."""

    lowercase: bool
    strip_accents: bool | None
    separates_chinese: bool


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """Settings that change a text's tokens."""

    lowercases: bool = False
    """Whether texts are lower-cased before the tokenizer's own normaliser (sentence-transformers)."""
    bert: BertNormalization | None = None
    """None: tokenizer.json decides."""
    padding_tokens: tuple[str, ...] = ()
    """Tokens that may fill up a batch, the most specific first."""
    mask_tokens: tuple[str, ...] = ()
    """Tokens that may stand for a missing word, the most specific first."""
    added_tokens: frozenset[str] = frozenset()
    """Tokens that transformers adds to those of tokenizer.json."""
    unknown_token: str | None = None
    """The token of what the vocabulary lacks."""

    @classmethod
    def read(cls, model_dir: Path) -> Self:
        """Read them.

        Raises:
            ModelError: a file is not what it should be.
        """
        config = read_object(model_dir / "tokenizer_config.json")
        padding, mask, end, unknown = (
            _text_of(token) if (token := config.get(name)) else None
            for name in ("pad_token", "mask_token", "eos_token", "unk_token")
        )
        return cls(
            lowercases=read_transformer_settings(model_dir).lowercases,
            bert=_bert_normalization(model_dir, config),
            padding_tokens=tuple(filter(None, (padding, end))),
            mask_tokens=tuple(filter(None, (mask, end))),
            added_tokens=frozenset(map(_text_of, (config.get("added_tokens_decoder") or {}).values())),
            unknown_token=unknown,
        )


def _bert_normalization(model_dir: Path, config: dict[str, Any]) -> BertNormalization | None:
    stated = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if stated:
        is_bert = stated in _BERT_CLASSES
    else:
        is_bert = bool(config) and read_object(model_dir / "config.json").get("model_type") in _BERT_TYPES
    if not is_bert:
        return None
    return BertNormalization(
        lowercase=bool(config.get("do_lower_case", True)),
        strip_accents=config.get("strip_accents"),
        separates_chinese=bool(config.get("tokenize_chinese_chars", True)),
    )


def _text_of(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)
