"""The form that each JSON file of a checkpoint must have. A model folder is input: a fault names its file and field.

Only fields that Trivet reads are listed, and only files that exist are checked. What the values mean is judged where
they are used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.checkpoint.files import SHARD_INDEX, read_json
from trivet.errors import ModelError


@dataclass(frozen=True, slots=True)
class Form:
    """A test of a value, and its name for messages."""

    name: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _are_labels(value: Any) -> bool:
    """Whether indices from 0 on are mapped to labels that differ."""
    if not isinstance(value, dict) or not all(isinstance(label, str) for label in value.values()):
        return False
    indices = {str(index) for index in range(len(value))}
    return {str(key) for key in value} == indices and len(set(value.values())) == len(value)


def _maps_text(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


_SIZE = Form("a whole number from 0 on", _is_whole)
_NUMBER = Form("a number", _is_number)
_POSITIVE = Form("a positive number", lambda value: _is_number(value) and value > 0)
_TEXT = Form("a string", lambda value: isinstance(value, str))
_TEXTS = Form("a list of strings", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value))
_TEXT_MAP = Form("an object of strings", _maps_text)
_OBJECT = Form("an object", lambda value: isinstance(value, dict))
_LABELS = Form("an object of the indices 0, 1, … and different labels", _are_labels)
_MODULES = Form(
    "a list of objects with a type and a path, both strings",
    lambda value: (
        isinstance(value, list)
        and all(
            isinstance(one, dict) and isinstance(one.get("type"), str) and isinstance(one.get("path", ""), str)
            for one in value
        )
    ),
)

OBJECTS: Mapping[str, Mapping[str, Form]] = {
    "config.json": {
        "model_type": _TEXT,
        "architectures": _TEXTS,
        "id2label": _LABELS,
        "pad_token_id": _SIZE,
        "type_vocab_size": _SIZE,
        "text_config": _OBJECT,
        **dict.fromkeys(("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"), _SIZE),
        **dict.fromkeys(("intermediate_size", "max_position_embeddings", "max_trained_positions"), _SIZE),
        **dict.fromkeys(("rope_theta", "global_rope_theta", "local_rope_theta", "rotary_emb_base"), _POSITIVE),
    },
    "tokenizer_config.json": {"model_max_length": _NUMBER, "added_tokens_decoder": _OBJECT},
    "sentence_bert_config.json": {"max_seq_length": _NUMBER},
    "config_sentence_transformers.json": {"prompts": _TEXT_MAP, "default_prompt_name": _TEXT},
    "tokenizer.json": {"model": _OBJECT},
    SHARD_INDEX: {"weight_map": _TEXT_MAP},
}
"""File → field → form. A field may be missing or null."""


def check_forms(model_dir: Path) -> None:
    """Check every file of a checkpoint that is listed here, and the config.json of each of its modules.

    Raises:
        ModelError: names the file, the field and the form that it must have.
    """
    for name, fields in OBJECTS.items():
        file = model_dir / name
        if file.is_file():
            _check_object(file, fields)
    modules = model_dir / "modules.json"
    if modules.is_file() and not _MODULES.holds(read_json(modules)):
        raise ModelError(f"{modules} must hold {_MODULES.name}")
    for file in sorted(model_dir.glob("*/config.json")):
        _check_object(file, {})


def _check_object(file: Path, fields: Mapping[str, Form]) -> None:
    content = read_json(file)
    if not isinstance(content, dict):
        raise ModelError(f"{file} does not hold a JSON object")
    for field, form in fields.items():
        value = content.get(field)
        if value is not None and not form.holds(value):
            raise ModelError(f"{file}: {field} must be {form.name}, not {repr(value)[:80]}")
