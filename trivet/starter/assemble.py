"""Assembles base weights and a shipped delta into a Hugging Face directory, once, and safely across processes.

Imports neither torch nor transformers: numpy and safetensors can add two sets of tensors, and the process stays small.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from trivet.errors import ModelError
from trivet.starter.base import base_model_dir, sha256_of
from trivet.starter.card import StarterCard, read_card
from trivet.starter.delta import Array, apply_delta

BASE_FILES = ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "special_tokens_map.json")
_LOCK_TIMEOUT_S = 120.0
_ENCODER_PREFIX = "bert."  # BertForSequenceClassification holds the encoder under this name


def assemble(source: Path, cache_dir: Path, *, base: Path | None = None) -> Path:
    """Return the directory of the assembled model of `source` (`delta.safetensors` + `model.json`), built if necessary.

    The directory's name contains a hash of everything that determines its content, so versions never mix. An existing
    directory is complete, because it is renamed into place after it was written.

    Args:
        source: directory of the shipped model.
        cache_dir: folder for assembled models; created if missing.
        base: directory of the base encoder; None: that of its package.

    Raises:
        ModelError: the base package is missing, its weights are not those that the delta was made against, or a shipped
            file is missing or damaged.
    """
    card = read_card(source / "model.json")
    cache_dir.mkdir(parents=True, exist_ok=True)
    target = cache_dir / f"{card.task}-{content_key(card)}"
    if target.is_dir():
        return target
    base = base or base_model_dir()
    with FileLock(cache_dir / f".{target.name}.lock", timeout=_LOCK_TIMEOUT_S):
        if target.is_dir():  # another process built it while this one waited
            return target
        _check_base(base, card)
        _check_delta(source / "delta.safetensors", card)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=cache_dir))
        try:
            _write_model(card, source / "delta.safetensors", base, temporary)
            temporary.chmod(0o755)  # mkdtemp makes it private; the cache may be shared between users
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return target


def content_key(card: StarterCard) -> str:
    """Return sixteen hex digits that change with the delta, the base or the way they are assembled."""
    content = card.model_dump_json(exclude={"metrics", "version", "threshold"})
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def base_tensors(base: Path) -> dict[str, Array]:
    """Load the base encoder's fp32 tensors, under the names that a classification model uses."""
    return {
        _ENCODER_PREFIX + name: tensor
        for name, tensor in load_file(base / "model.safetensors").items()
        if np.issubdtype(tensor.dtype, np.floating)  # position_ids is an index, rebuilt on loading
    }


def _check_base(base: Path, card: StarterCard) -> None:
    for name, expected in card.base.sha256.items():
        path = base / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; reinstall {card.base.distribution}=={card.base.version}")
        actual = sha256_of(path)
        if actual != expected:
            raise ModelError(
                f"{path} is not the file that the starter {card.task} was trained from: expected sha256 "
                f"{expected}, found {actual}. Reinstall {card.base.distribution}=={card.base.version}."
            )


def _check_delta(delta: Path, card: StarterCard) -> None:
    if not delta.is_file():
        raise ModelError(f"{delta} is missing: this installation carries no starter {card.task}")
    actual = sha256_of(delta)
    if actual != card.delta_sha256:
        raise ModelError(
            f"{delta} does not belong to its model.json: expected sha256 {card.delta_sha256}, found {actual}"
        )


def _write_model(card: StarterCard, delta: Path, base: Path, directory: Path) -> None:
    try:
        tensors = apply_delta(base_tensors(base), load_file(delta))
    except (ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"{delta} cannot be applied to {base}: {error}") from error
    save_file(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        directory / "model.safetensors",
        metadata={"format": "pt"},  # transformers refuses a file that does not say so
    )
    (directory / "model.safetensors").chmod(0o644)  # safetensors writes files that only their owner may read
    base_config = json.loads((base / "config.json").read_bytes())
    _write_json(directory / "config.json", classification_config(base_config, card))
    tokenizer = json.loads((base / "tokenizer.json").read_bytes())
    _write_json(directory / "tokenizer.json", without_truncation(tokenizer))
    _write_json(directory / "tokenizer_config.json", _tokenizer_config(card))
    for name in ("vocab.txt", "special_tokens_map.json"):
        shutil.copyfile(base / name, directory / name)


def classification_config(base_config: Mapping[str, Any], card: StarterCard) -> dict[str, Any]:
    """Turn the base's config.json into that of a BertForSequenceClassification with the card's labels."""
    dropped = {"_name_or_path", "gradient_checkpointing", "transformers_version", "position_embedding_type"}
    config = {key: value for key, value in base_config.items() if key not in dropped}
    return {
        **config,
        "architectures": ["BertForSequenceClassification"],
        "id2label": {str(index): label for index, label in sorted(card.id2label.items())},
        "label2id": {label: index for index, label in sorted(card.id2label.items())},
        "dtype": "float32",
        **card.config,
    }


def without_truncation(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base's tokenizer.json without its truncation and padding to 128 tokens; the engine windows texts."""
    return {**tokenizer, "truncation": None, "padding": None}


def _tokenizer_config(card: StarterCard) -> dict[str, Any]:
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": card.max_tokens,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "strip_accents": None,
        "tokenize_chinese_chars": True,
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
