"""Finds checkpoints: the starters that ship with Trivet, local directories, models of the hub."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from trivet.checkpoint.digest_cache import digests_dir, kept_digest
from trivet.checkpoint.files import readable_files
from trivet.checkpoint.m3 import HEADS
from trivet.checkpoint.unpickle import has_pickles, unpickled
from trivet.config import Task
from trivet.errors import ModelError
from trivet.starter import prepare_starter

logger = logging.getLogger(__name__)

_WANTED_FILES = ("*.json", "*.txt", "*.jinja", "*.model", "*.safetensors", "*.metadata", "README.md")
"""Never code (.py), and pickles only of models that the configuration names."""
_PICKLES = ("pytorch_model*.bin", *(f"{name}.pt" for name in HEADS))


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A checkpoint on this machine. `name` is human-readable; `revision` changes with the content of its files."""

    name: str
    path: Path
    revision: str


def locate_model(
    spec: str, task: Task, cache: Path, *, models_dir: Path | None = None, allow_pickle: bool = False
) -> ModelSource:
    """Find the checkpoint that `spec` names, fetching or assembling it if need be.

    Args:
        spec: `starter`, a directory, or a hub id.
        task: which of the three models it serves as.
        cache: folder of prepared models.
        models_dir: folder of checkpoints by hub id, which then need no hub.
        allow_pickle: read weights that exist only as a pickle, by torch's restricted reader, and keep them as
            safetensors in the cache.

    Raises:
        ModelError: there is no such model here or at the hub, or its pickle holds more than tensors.
    """
    source = _found(spec, task, cache, models_dir, allow_pickle=allow_pickle)
    if not allow_pickle or not has_pickles(source.path):
        return source
    logger.warning("%s: reading the pickle of %s, which the configuration allows by name", task, source.name)
    folder = unpickled(source.path, cache / f"{source.path.name}-safetensors-{source.revision[:16]}")
    return ModelSource(source.name, folder, source.revision)


def _found(spec: str, task: Task, cache: Path, models_dir: Path | None, *, allow_pickle: bool) -> ModelSource:
    if spec == "starter":
        path = prepare_starter(task, cache)
        return ModelSource(f"trivet-starter-{task}", path, _revision(path, cache))
    directory = Path(os.path.expanduser(spec))
    if directory.is_dir():
        return ModelSource(directory.name, directory, _revision(directory, cache))
    if directory.is_absolute() or spec.startswith((".", "~")):
        raise ModelError(f"{task}.model: there is no directory {spec}")
    if models_dir is not None:
        if not models_dir.is_dir():  # the hub instead would be a surprise
            raise ModelError(f"{task}.model {spec}: there is no directory {models_dir} (serving.models_dir)")
        kept = models_dir / spec
        if kept.is_dir() and kept.resolve().is_relative_to(models_dir.resolve()):
            return ModelSource(spec, kept, _revision(kept, cache))
    return _from_hub(spec, task, (*_WANTED_FILES, *_PICKLES) if allow_pickle else _WANTED_FILES)


def _from_hub(repo_id: str, task: Task, wanted: tuple[str, ...]) -> ModelSource:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the client is imported
    from huggingface_hub import snapshot_download  # only here: a starter or local model needs no hub client
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    logger.info("%s: fetching %s from the hub", task, repo_id)
    try:
        path = Path(snapshot_download(repo_id, allow_patterns=list(wanted)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{task}.model: {repo_id!r} is neither `starter`, nor a directory here, nor fetched from the hub ({error})"
        ) from error
    return ModelSource(repo_id, path, path.name)


def _revision(directory: Path, cache: Path) -> str:
    """Return a short hash of the names and contents of the files that may be read.

    A copy has the same revision, on every machine and whatever the times of its files, so cached results stay valid.
    The digests of unchanged files are kept, since hashing gigabytes takes seconds.
    """
    revision = hashlib.sha256()
    for file in sorted(readable_files(directory)):
        revision.update(file.relative_to(directory).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        revision.update(bytes.fromhex(kept_digest(file, digests_dir(cache))))
    return revision.hexdigest()[:12]
