"""Reads the JSON files of a checkpoint directory, and finds its safetensors files.

It does not read tensors and never opens a pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trivet.errors import ModelError

SINGLE_FILE = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"
PICKLE_PATTERNS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_READ_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.metadata", *PICKLE_PATTERNS)


class CheckpointMismatch(ModelError):
    """A checkpoint's config or tensors are not those that its architecture requires; the message names them."""


def readable_files(model_dir: Path) -> set[Path]:
    """Return the files of a checkpoint that Trivet may read, those in its folders included."""
    return {file for pattern in _READ_PATTERNS for file in model_dir.rglob(pattern) if file.is_file()}


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ModelError: the file is missing, cannot be read, or is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError:
        raise ModelError(f"{path} is not valid JSON: it is nested too deeply") from None
    except ValueError as error:  # no JSON, not UTF-8, or a number of too many digits
        raise ModelError(f"{path} is not valid JSON: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in an optional JSON file; an empty one if there is no such file.

    Raises:
        ModelError: the file does not hold a JSON object.
    """
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path} does not hold a JSON object")
    return content


def read_config(model_dir: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's config.json.

    Raises:
        ModelError: the directory or the file is missing, or the file does not hold a JSON object.
    """
    if not model_dir.is_dir():
        raise ModelError(f"{model_dir} is not a directory")
    file = model_dir / "config.json"
    if not file.is_file():
        raise ModelError(f"{file} is missing: not a model directory")
    return read_object(file)


def inside(model_dir: Path, name: Any, named_by: Path) -> Path:
    """Return the path that one of a checkpoint's own files names, relative to its directory.

    Only the name is checked, since the files of a hub's cache are links to places outside of the directory.

    Raises:
        ModelError: the name is no string, or leads out of the directory.
    """
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ModelError(f"{named_by} names {name!r}, which is outside of {model_dir}")
    return model_dir / name


def find_weight_files(model_dir: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint, sorted: one file, or the shards that its index names.

    Raises:
        ModelError: there are none (a pickle checkpoint is refused by its file's name), or a shard is missing.
    """
    single = model_dir / SINGLE_FILE
    if single.is_file():
        return [single]
    index = model_dir / SHARD_INDEX
    if index.is_file():
        weight_map = read_object(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise ModelError(f"{index}: weight_map must be an object of tensors and their files")
        shards = sorted({inside(model_dir, name, index) for name in weight_map.values()})
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing or not shards:
            raise ModelError(f"{index} names shards that are missing: {', '.join(missing) or '(none named)'}")
        return shards
    pickles = sorted(path.name for pattern in PICKLE_PATTERNS for path in model_dir.glob(pattern))
    if pickles:
        raise ModelError(
            f"{model_dir / pickles[0]} is a pickle, which can run code when it is read; "
            f"Trivet loads safetensors only ({SINGLE_FILE} is missing), and pickles of models in `pickled_models`"
        )
    raise ModelError(f"{single} is missing")
