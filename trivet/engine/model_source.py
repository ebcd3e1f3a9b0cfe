"""Where a model comes from: the starter that ships with Trivet, a local directory, or the hub."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from trivet.config import Task
from trivet.errors import ModelError
from trivet.starter import prepare_starter

logger = logging.getLogger(__name__)

_WANTED_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*")
"""Never pickles (.bin, .pt), never code (.py)."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A checkpoint on this machine. `name` is what people call it, `revision` changes with its files."""

    name: str
    path: Path
    revision: str


def locate_model(spec: str, task: Task, cache: Path) -> ModelSource:
    """Find the checkpoint that `spec` names, fetching or assembling it if need be.

    Args:
        spec: `starter`, a directory, or a hub id.
        task: which of the three models it is to be.
        cache: where prepared models live.

    Raises:
        ModelError: nothing of that name, here or at the hub.
    """
    if spec == "starter":
        path = prepare_starter(task, cache)
        return ModelSource(f"trivet-starter-{task}", path, _revision(path))
    directory = Path(spec).expanduser()
    if directory.is_dir():
        return ModelSource(directory.name, directory, _revision(directory))
    if directory.is_absolute() or spec.startswith((".", "~")):
        raise ModelError(f"{task}.model: there is no directory {spec}")
    return _from_hub(spec, task)


def _from_hub(repo_id: str, task: Task) -> ModelSource:
    from huggingface_hub import snapshot_download  # only here: a starter or local model needs no hub client
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    logger.info("%s: fetching %s from the hub", task, repo_id)
    try:
        path = Path(snapshot_download(repo_id, allow_patterns=list(_WANTED_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{task}.model: {repo_id!r} is neither `starter`, nor a directory here, nor fetched from the hub ({error})"
        ) from error
    return ModelSource(repo_id, path, path.name)


def _revision(path: Path) -> str:
    """A short fingerprint of a directory's files by name, size and time of change."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            status = file.stat()
            digest.update(f"{file.relative_to(path)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:12]
