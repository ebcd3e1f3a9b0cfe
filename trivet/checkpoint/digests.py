"""Checks that a checkpoint's files are as published: by their names in the hub's cache, or by a SHA256SUMS file.

The hub's local cache names every file by its digest: 64 hexadecimal digits of SHA-256 for large files, 40 of git's blob
SHA-1 for small ones. A damaged or exchanged file therefore shows without a network. Any other directory may hold
`SHA256SUMS`, as `sha256sum * > SHA256SUMS` writes it.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trivet.errors import ModelError

SUMS_FILE = "SHA256SUMS"

_CHUNK_BYTES = 1 << 22
_SUM_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


def published_digests(directory: Path) -> Mapping[Path, str]:
    """Return the files of a checkpoint with the digest that each should have; empty if none are published.

    Raises:
        ModelError: a line of SHA256SUMS cannot be read, or names a file outside the directory.
    """
    sums = directory / SUMS_FILE
    if sums.is_file():
        return dict(_listed(sums))
    files = (file for file in sorted(directory.rglob("*")) if file.is_symlink() and file.is_file())
    named = {file: file.resolve().name for file in files if file.resolve().parent.name == "blobs"}
    return {file: name for file, name in named.items() if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name)}


def check_digests(digests: Mapping[Path, str], on_bytes: Callable[[int], None] = lambda count: None) -> None:
    """Read every file and compare its digest.

    Args:
        digests: the expected digest of each file.
        on_bytes: called while reading, with the number of bytes read since the last call.

    Raises:
        ModelError: a file is missing or differs; the message has both digests.
    """
    for file, expected in digests.items():
        found = _digest(file, expected, on_bytes)
        if found != expected:
            raise ModelError(f"{file} is not as published: its digest is {found}, it should be {expected}")


def total_bytes(digests: Mapping[Path, str]) -> int:
    """Return the number of bytes that `check_digests` will read."""
    return sum(file.stat().st_size for file in digests if file.is_file())


def _listed(sums: Path) -> Iterator[tuple[Path, str]]:
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{sums} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        found = _SUM_LINE.fullmatch(line)
        if found is None:
            raise ModelError(f"{sums}, line {number}: not a line of sha256sum")
        file = sums.parent / found["name"]
        if not file.resolve().is_relative_to(sums.parent.resolve()):
            raise ModelError(f"{sums}, line {number}: {found['name']} is outside the directory")
        if file.name != SUMS_FILE:
            yield file, found["digest"]


def _digest(file: Path, expected: str, on_bytes: Callable[[int], None]) -> str:
    if not file.is_file():
        raise ModelError(f"{file} is missing")
    if len(expected) == 40:
        # Git names a file by its content behind a header.
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()
