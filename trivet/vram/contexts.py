"""What a CUDA process holds outside its allocator, as GPU replicas have measured it, kept in the cache folder.

`trivet plan` and `trivet doctor` count with it from the second start on. The figure depends on the GPU, its driver and
torch, so it is kept for each combination; of several models the largest counts.
"""

import hashlib
import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trivet.files import read_regular

_MOST_BYTES = 4096


def keep_context(cache: Path, driver_and_gpu: str, context_bytes: int) -> None:
    """Keep a measurement, unless a larger one is kept.

    Args:
        cache: the folder of prepared models.
        driver_and_gpu: see `trivet.vram.nvml.driver_and_gpu`.
        context_bytes: what one process holds outside its allocator.

    Raises:
        OSError: it cannot be written.
    """
    known = kept_context(cache, driver_and_gpu)
    if known is not None and known >= context_bytes:
        return
    file = _file(cache, driver_and_gpu)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"measured_on": _key(driver_and_gpu), "bytes": context_bytes}), encoding="utf-8")
    partial.replace(file)


def kept_context(cache: Path, driver_and_gpu: str) -> int | None:
    """Return the largest measurement on this combination of GPU, driver and torch; None if there is none."""
    try:
        kept = json.loads(read_regular(_file(cache, driver_and_gpu), _MOST_BYTES))
    except (OSError, ValueError):  # not measured yet, or not written by us
        return None
    size = kept.get("bytes") if isinstance(kept, dict) else None
    return size if isinstance(size, int) and size > 0 else None


def _file(cache: Path, driver_and_gpu: str) -> Path:
    digest = hashlib.sha256(_key(driver_and_gpu).encode()).hexdigest()
    return cache / "cuda-contexts" / f"{digest}.json"


def _key(driver_and_gpu: str) -> str:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    return f"{driver_and_gpu}, torch {torch}"
