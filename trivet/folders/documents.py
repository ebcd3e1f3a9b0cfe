"""Reads the texts of a folder."""

import asyncio
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from trivet.index import Skipped, excludes_file, read_text, walk
from trivet.index.texts import DATA, DEFAULT_MAX_BYTES, is_data

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """A text of a folder."""

    path: str
    """Relative to the folder, with `/` between its parts."""
    text: str
    digest: str
    """SHA-256 of the file's bytes."""


def read_folder(
    folder: Path, *, max_bytes: int = DEFAULT_MAX_BYTES, excluded: Container[Path] = (), data: bool = True
) -> Iterator[Document | Skipped]:
    """The folder's texts that git would not ignore, in the order of their paths, and what is omitted.

    Args:
        folder: the folder.
        max_bytes: larger files are omitted.
        excluded: resolved paths that the caller writes to; they are passed over.
        data: whether files that hold tables or records are read too.
    """
    for found in walk(folder, global_excludes=excludes_file(folder)):
        if isinstance(found, Skipped):
            yield found
        elif found.resolve() in excluded:
            continue
        elif not data and is_data(found):
            yield Skipped(str(found), DATA)
        else:
            yield _document(folder, found, max_bytes)


async def collected(items: Iterator[T]) -> list[T]:
    """Read all items in a thread. If the caller is cancelled, the thread ends at the next item.

    Otherwise Ctrl-C would wait until a large folder is read, since Python ends only when its threads have.
    """
    cancelled = Event()

    def collect() -> list[T]:
        found: list[T] = []
        for item in items:
            if cancelled.is_set():
                break
            found.append(item)
        return found

    try:
        return await asyncio.to_thread(collect)
    finally:
        cancelled.set()


def _document(folder: Path, file: Path, max_bytes: int) -> Document | Skipped:
    read = read_text(file, max_bytes=max_bytes)
    if isinstance(read, Skipped):
        return read
    return Document(file.relative_to(folder).as_posix(), read.text, read.digest)
