"""Reads what the files of a late-interaction model (ColBERT) say about queries and documents. Needs no model.

Such a model gives a vector of each token. Queries and documents begin with different markers and have different
lengths; a query is filled up with a token, usually `[MASK]`, whose vectors count too; punctuation in documents does
not count. Three libraries have written these settings:

- Stanford's ColBERT: `artifact.metadata`, and a layer `linear` in the file of the encoder;
- PyLate: `config_sentence_transformers.json`;
- sentence-transformers from version 6: `sentence_bert_config.json`, and the module `MultiVectorMask`.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trivet.checkpoint.files import read_object
from trivet.checkpoint.modules import METADATA_FILE, MODULES_FILE, Modules, TransformerSettings
from trivet.errors import ModelError
from trivet.messages import InputType

_USUAL_QUERY_TOKENS = 32

Side = InputType


@dataclass(frozen=True, slots=True)
class Expansion:
    """How queries are filled up with a token whose vectors count."""

    tokens: int
    """Of a query with the special tokens; shorter ones are filled up to it."""
    is_width: bool = True
    """Whether no query is longer."""
    is_seen: bool = False
    """Whether other tokens attend to those that fill up."""
    token: str | None = None
    """None: the tokenizer's mask, or the end of a text where it has none."""

    @classmethod
    def of(cls, stated: Mapping[str, Any], file: Path) -> Self:
        """Read the object that sentence-transformers writes."""
        strategy, tokens = stated.get("strategy"), stated.get("length")
        if strategy not in ("fixed", "min") or isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
            raise ModelError(
                f"{file}: query_expansion must have a strategy, fixed or min, and a length from 1 on, not {stated!r}"
            )
        token = stated.get("token")
        return cls(tokens, strategy == "fixed", bool(stated.get("attend")), None if token is None else str(token))


@dataclass(frozen=True, slots=True)
class LateInteraction:
    """How a late-interaction model reads queries and documents."""

    expansion: Expansion | None = None
    query_tokens: int | None = None
    """The longest query, with the special tokens; None: as the model."""
    document_tokens: int | None = None
    """The same of documents."""
    skipped: tuple[str, ...] = ()
    """Tokens whose vectors do not count."""
    skipped_in: frozenset[Side] = frozenset({"document"})
    markers: Mapping[str, str] = field(default_factory=dict)
    """What queries and documents begin with, as one token where the tokenizer has it."""

    def tokens(self, side: Side | None) -> int | None:
        """Return the longest text of a kind, with the special tokens; None: as the model."""
        if side == "query":
            fixed = self.expansion is not None and self.expansion.is_width
            return self.expansion.tokens if self.expansion is not None and fixed else self.query_tokens
        return self.document_tokens if side == "document" else None


def read_late_interaction(model_dir: Path, modules: Modules, settings: TransformerSettings) -> LateInteraction | None:
    """Read the settings; None if the model's chain does not end with a vector of each token.

    Raises:
        ModelError: a setting that is not supported; the message names file and field.
    """
    if not modules.token_steps:
        return None
    if not (model_dir / MODULES_FILE).is_file():
        return _stanford(model_dir)
    stated = read_object(model_dir / "config_sentence_transformers.json")
    return _by_modules(model_dir, stated, modules, settings)


def _stanford(model_dir: Path) -> LateInteraction:
    file = model_dir / METADATA_FILE
    stated = read_object(file)
    tokens = _positive(stated.get("query_maxlen") or _USUAL_QUERY_TOKENS, "query_maxlen", file)
    return LateInteraction(
        expansion=Expansion(tokens, is_seen=bool(stated.get("attend_to_mask_tokens"))),
        document_tokens=_optional(stated, "doc_maxlen", file),
        skipped=tuple(string.punctuation) if stated.get("mask_punctuation", True) else (),
        markers={
            "query": f"{stated.get('query_token_id') or '[unused0]'} ",
            "document": f"{stated.get('doc_token_id') or '[unused1]'} ",
        },
    )


def _by_modules(
    model_dir: Path, stated: Mapping[str, Any], modules: Modules, settings: TransformerSettings
) -> LateInteraction:
    file = model_dir / "config_sentence_transformers.json"
    own_file = settings.file or model_dir / "sentence_bert_config.json"
    own = settings.stated
    markers = {
        side: str(stated[f"{side}_prefix"] or "") for side in ("query", "document") if f"{side}_prefix" in stated
    }
    is_pylate = any(name in stated for name in ("query_prefix", "do_query_expansion", "attend_to_expansion_tokens"))
    query_tokens = _optional(own, "query_length", own_file) or _optional(stated, "query_length", file)
    expansion = None
    if own.get("query_expansion"):
        expansion = Expansion.of(own["query_expansion"], own_file)
    elif is_pylate and stated.get("do_query_expansion") is not False:
        expansion = Expansion(
            query_tokens or _USUAL_QUERY_TOKENS, is_seen=bool(stated.get("attend_to_expansion_tokens"))
        )
    skipped, skipped_in = _skipped(stated, modules)
    return LateInteraction(
        expansion=expansion,
        query_tokens=query_tokens,
        document_tokens=_optional(own, "document_length", own_file) or _optional(stated, "document_length", file),
        skipped=skipped,
        skipped_in=skipped_in,
        markers=markers,
    )


def _skipped(stated: Mapping[str, Any], modules: Modules) -> tuple[tuple[str, ...], frozenset[Side]]:
    documents: frozenset[Side] = frozenset({"document"})
    if modules.mask_folder is None:
        words = stated.get("skiplist_words")
        return tuple(string.punctuation) if words is None else tuple(map(str, words)), documents
    file = modules.mask_folder / "config.json"
    mask = read_object(file)
    if mask.get("keep_only_token_ids"):
        raise ModelError(f"{file} sets keep_only_token_ids, which is not supported")
    tasks = mask.get("skiplist_tasks")
    sides = documents if tasks is None else frozenset([tasks] if isinstance(tasks, str) else tasks)
    if not sides <= {"query", "document"}:
        raise ModelError(f"{file}: skiplist_tasks is {tasks!r}; query and document are supported")
    return tuple(map(str, mask.get("skiplist_words") or ())), sides


def _optional(stated: Mapping[str, Any], name: str, file: Path) -> int | None:
    return None if stated.get(name) is None else _positive(stated[name], name, file)


def _positive(value: Any, name: str, file: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{file}: {name} is {value!r}, not a positive whole number")
    return value
