"""The cache of converted models on disk: found by key, converted once in a separate process, mapped by every replica.

It imports neither torch nor OpenVINO. A key covers everything that the graph depends on: the checkpoint's weights and
JSON files by content, the task, the precision, the converter's source, and the versions of the libraries that it uses.
Folders never change once they exist; an outdated one is no longer looked up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

import trivet
from trivet.checkpoint.digest_cache import digests_dir, kept_digest
from trivet.checkpoint.files import SHARD_INDEX, find_weight_files, read_config
from trivet.checkpoint.m3 import HEADS
from trivet.checkpoint.modules import METADATA_FILE
from trivet.config import CpuPrecision, Task
from trivet.errors import ConfigError, ModelError

MODEL_FILE = "openvino_model.xml"
HEAD_FILE = "openvino_head.xml"
"""The head of a reranker or classifier, which runs in fp32; absent where the model cannot be divided."""
META_FILE = "meta.json"


INT8_GROUP_SIZE = 64
"""Activations per quantisation group of an int8 graph, given as DYNAMIC_QUANTIZATION_GROUP_SIZE when it is compiled. A
matrix product whose width it does not divide falls back to a slower kernel. 64 divides those of all three flagships;
128 does not divide ModernBERT-large's 2,624. Larger groups are faster and less exact (bench/LOG.md has the table)."""

_PACKAGE = Path(trivet.__file__).parent
_SOURCES = (
    "checkpoint/*.py",
    "engine/batch/layout.py",
    "engine/models/**/*.py",
    "engine/openvino/export/*.py",
    "engine/openvino/sections_meta.py",
)
"""Code that decides what a graph computes, and how its folder is laid out."""
_VERSIONED = ("openvino", "torch", "transformers")
_VERSIONED_INT8 = (*_VERSIONED, "nncf")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IrMeta:
    """The record of one conversion. It is kept beside the graph so that the cache can be inspected."""

    model: str
    """Name of the checkpoint's directory."""
    task: Task
    precision: CpuPrecision
    relative_error: float
    """‖IR - torch fp32‖ / ‖torch fp32‖ on the conversion's example."""
    versions: Mapping[str, str]
    """Of the libraries that made the graph."""

    def write(self, ir_dir: Path) -> None:
        """Write it as JSON into the IR folder."""
        (ir_dir / META_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def converter_versions(precision: CpuPrecision) -> dict[str, str]:
    """Return the versions of the libraries that decide what a graph computes.

    Raises:
        ConfigError: one of them is not installed, such as nncf, which compresses the weights at `int8`.
    """
    try:
        return {name: version(name) for name in (_VERSIONED_INT8 if precision == "int8" else _VERSIONED)}
    except PackageNotFoundError as error:
        extra = "int8" if precision == "int8" else "serve"
        raise ConfigError(f"precision {precision} needs {error.name}: pip install 'trivet[{extra}]'") from error


def ir_key(
    model_dir: Path,
    task: Task,
    precision: CpuPrecision,
    digest_cache_dir: Path | None = None,
    *,
    recipe: str | None = None,
) -> str:
    """Return a hexadecimal SHA-256 over everything that the converted graph depends on.

    Hashing gigabytes takes seconds. With ``digest_cache_dir`` a file's digest is kept there and reused as long as the
    file's inode, size, modification and change time are the same and were settled when it was hashed.

    Raises:
        ModelError: the directory holds no checkpoint.
    """
    read_config(model_dir)  # refuses a directory that is no checkpoint
    key = hashlib.sha256()
    versions = (f"{name}={number}" for name, number in sorted(converter_versions(precision).items()))
    for part in (task, precision, recipe or "", *versions):
        key.update(part.encode() + b"\0")
    for file in sorted(file for pattern in _SOURCES for file in _PACKAGE.glob(pattern)):
        key.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    for file in _files_that_matter(model_dir, recipe):
        digest = bytes.fromhex(kept_digest(file, digest_cache_dir))
        key.update(file.relative_to(model_dir).as_posix().encode() + b"\0" + digest)
    return key.hexdigest()


def ensure_ir(
    model_dir: Path, task: Task, precision: CpuPrecision, cache_dir: Path, *, recipe: str | None = None
) -> Path:
    """Return the IR folder of a checkpoint; convert it first if there is none yet.

    Several processes may call this at the same time: one converts, the others wait. Progress goes to the log.
    `recipe` is that of `load_torch_model`, which decides which words a causal reranker answers with.

    Raises:
        ModelError: the checkpoint cannot be converted; the message is the converter's.
    """
    model_dir = model_dir.resolve()
    cache_dir.mkdir(parents=True, exist_ok=True)
    key = ir_key(model_dir, task, precision, digests_dir(cache_dir), recipe=recipe)
    ir_dir = cache_dir / f"{model_dir.name}-{task}-{precision}-{key[:16]}"
    if ir_dir.is_dir():
        return ir_dir
    lock = FileLock(cache_dir / f"{ir_dir.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another process that converts %s", model_dir.name)
        lock.acquire()
    try:
        if not ir_dir.is_dir():
            _convert_in_subprocess(model_dir, task, precision, ir_dir, recipe)
    finally:
        lock.release()
    return ir_dir


def _convert_in_subprocess(
    model_dir: Path, task: Task, precision: CpuPrecision, ir_dir: Path, recipe: str | None
) -> None:
    logger.info("converting %s to OpenVINO %s, once; kept in %s", model_dir.name, precision, ir_dir.parent)
    command = [sys.executable, "-m", "trivet.engine.openvino.export.convert"]
    command += ["--model", str(model_dir), "--task", task, "--precision", precision, "--out", str(ir_dir)]
    command += [] if recipe is None else ["--recipe", recipe]
    # The child must find the same trivet as this process, installed or not.
    search_path = [str(Path(trivet.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search_path))}
    last = ""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None  # asked for above
        for line in child.stderr:
            if line.strip():
                last = line.strip()
                logger.info("%s: %s", model_dir.name, last)
    if child.returncode != 0 or not ir_dir.is_dir():
        raise ModelError(
            f"converting {model_dir} for {task} at {precision} failed (exit {child.returncode}): "
            f"{last.removeprefix('error: ')}"
        )


def _files_that_matter(model_dir: Path, recipe: str | None) -> Iterable[Path]:
    """Weights, and the JSON files that the loader reads. The tokenizer matters only where it gives words their ids."""
    yield model_dir / "config.json"
    heads = (f"{name}.safetensors" for name in HEADS)
    for optional in (SHARD_INDEX, "modules.json", METADATA_FILE, *heads, *(["tokenizer.json"] if recipe else [])):
        if (model_dir / optional).is_file():
            yield model_dir / optional
    for pattern in ("*/config.json", "*/*.safetensors"):  # of the modules of sentence-transformers
        yield from sorted(model_dir.glob(pattern))
    yield from find_weight_files(model_dir)
