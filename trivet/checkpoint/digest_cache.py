"""Keeps the digests of files, since hashing gigabytes takes seconds.

A digest is reused as long as the file's inode, size, modification and change time are the same, and were settled when
it was hashed. Only the user who may write the cache folder, and with it the converted models, can forge one.
"""

import hashlib
import json
import os
import time
from pathlib import Path

_SETTLED_S = 2.0
"""A file changed less than this before it was hashed may change again within one tick of its timestamp."""


def digests_dir(cache: Path) -> Path:
    """Return the folder of digests in the folder of prepared models."""
    return cache / "digests"


def kept_digest(file: Path, cache_dir: Path | None) -> str:
    """Return a file's SHA-256 in hexadecimal, from `cache_dir` if it is kept there; None: always hash."""
    if cache_dir is None:
        return _hash(file)
    stat = file.stat()
    identity = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    entry = cache_dir / f"{hashlib.sha256(str(file.resolve()).encode()).hexdigest()}.json"
    known = _read_entry(entry)
    if known.get("identity") == identity:
        return str(known["digest"])
    settled = time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED_S
    digest = _hash(file)
    if settled:
        _write_entry(entry, {"identity": identity, "digest": digest})
    return digest


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_entry(entry: Path) -> dict[str, object]:
    try:
        known = json.loads(entry.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}  # not hashed yet, or written incompletely: hash again
    return known if isinstance(known, dict) else {}


def _write_entry(entry: Path, known: dict[str, object]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    partial = entry.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(known), encoding="utf-8")
    partial.replace(entry)
