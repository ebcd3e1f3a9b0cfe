"""An index on disk: one JSON line per chunk. An interrupted run leaves a usable file, which the next run completes.

A run appends records as it embeds chunks. At the end it rewrites the file, in order and without removed chunks.
"""

import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from trivet.cli.calling import UserError
from trivet.cli.output import json_line, opened

Record = Mapping[str, Any]
"""A line: the `sha256` of the chunk's text, and its other fields."""

_BEGINNING = b'{"path":'
"""Start of every line, by which an incomplete first line is recognised as an index."""


class IndexFile:
    """One index file, open during a run. Use it with `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._path.touch()
        self._file = self._path.open("r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the file is closed
        except BlockingIOError:
            self._file.close()
            raise UserError(f"another run writes {self._path}: wait for it, or give another file to --out") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def load(self, is_current: Callable[[Record], bool]) -> int:
        """Read which chunks the index has, and return their number. Removes an incomplete last line.

        Raises:
            UserError: the file is not an index; it is not modified.
        """
        self._file.seek(0)
        offset = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # the run was killed while writing this line
            record = self._parsed(line, number)
            if is_current(record):
                self._offsets[record["sha256"]] = offset
            offset += len(line)
        else:
            return len(self._offsets)
        if offset == 0 and not line.startswith(_BEGINNING):
            raise UserError(f"{self._path} is not an index: its only line is incomplete; give another file to --out")
        self._file.truncate(offset)
        return len(self._offsets)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._offsets

    def append(self, record: Record) -> None:
        """Add a chunk's record, which survives the process after `flush`."""
        offset = self._file.seek(0, 2)
        self._file.write(json_line(record))
        self._offsets[record["sha256"]] = offset

    def flush(self) -> None:
        """Pass appended records to the operating system."""
        self._file.flush()

    def rewrite(self, places: Iterable[tuple[str, Record]]) -> None:
        """Replace the file: for each (sha256, place) write the chunk's record, updated with the place's fields."""
        with opened(self._path) as file:
            for record in self._placed(places):
                file.write(json_line(record))

    def _placed(self, places: Iterable[tuple[str, Record]]) -> Iterator[Record]:
        for sha256, place in places:
            self._file.seek(self._offsets[sha256])
            stored = orjson.loads(self._file.readline())
            stored.pop("text", None)  # the place has the text, if it is wanted
            yield {**stored, **place}

    def _parsed(self, line: bytes, number: int) -> Record:
        try:
            record = orjson.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("sha256"), str) or "embedding" not in record:
            raise UserError(
                f"{self._path} is not an index: line {number} is not a record. The file was not changed; "
                "give another file to --out"
            )
        return record
