"""An index on disk: JSON lines, one per chunk, that an interrupted run leaves useful and the next one completes.

While a run works it appends; when it has everything it writes the file anew, in order, without what is gone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from trivet.cli.calling import UserError
from trivet.cli.output import json_line, opened

Record = Mapping[str, Any]
"""A line: `sha256` of the chunk's text, and what else is told of it."""

_BEGINNING = b'{"path":'
"""Of every line, so that a first one that was cut off is known for ours."""


class IndexFile:
    """One index, open for a run. Use it with `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._path.touch()
        self._file = self._path.open("r+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def load(self, is_current: Callable[[Record], bool]) -> int:
        """Learn which chunks are there; returns how many. A last line that was cut off is dropped.

        Raises:
            UserError: the file is not an index; it is left as it is.
        """
        self._file.seek(0)
        offset = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # the last line of a run that was killed while writing it
            record = self._parsed(line, number)
            if is_current(record):
                self._offsets[record["sha256"]] = offset
            offset += len(line)
        else:
            return len(self._offsets)
        if offset == 0 and not line.startswith(_BEGINNING):
            raise UserError(f"{self._path} is not an index: its only line is not whole")
        self._file.truncate(offset)
        return len(self._offsets)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._offsets

    def append(self, record: Record) -> None:
        """Add a chunk; after `flush` it survives the process."""
        offset = self._file.seek(0, 2)
        self._file.write(json_line(record))
        self._offsets[record["sha256"]] = offset

    def flush(self) -> None:
        """Hand what was appended to the operating system."""
        self._file.flush()

    def rewrite(self, places: Iterable[tuple[str, Record]]) -> None:
        """Write the file anew: for each (sha256, place) the chunk's record, with the place's fields in it."""
        with opened(self._path) as file:
            for record in self._placed(places):
                file.write(json_line(record))

    def _placed(self, places: Iterable[tuple[str, Record]]) -> Iterator[Record]:
        for sha256, place in places:
            self._file.seek(self._offsets[sha256])
            stored = orjson.loads(self._file.readline())
            stored.pop("text", None)  # the place has it, if it is wanted
            yield {**stored, **place}

    def _parsed(self, line: bytes, number: int) -> Record:
        try:
            record = orjson.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("sha256"), str) or "embedding" not in record:
            raise UserError(f"{self._path} is not an index: line {number} is no record of one. It was left as it is")
        return record
