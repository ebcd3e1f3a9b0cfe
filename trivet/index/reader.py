"""Searches an index. Any number of readers, in any number of processes, beside one writer."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trivet.index.errors import IndexDamaged
from trivet.index.file import check_model, connect, damage_named, form_of, model_of, unpacked, unpacked_vectors
from trivet.index.forms import Vectors, VectorTable, row_bytes, unit_vectors
from trivet.index.identity import IndexModel
from trivet.index.nearest import best_pairs, top_rows
from trivet.index.patterns import path_matcher
from trivet.passages import Passage


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found."""

    path: str
    passage: Passage
    text: str
    """The passage's, as it was when it was indexed."""
    score: float
    """Cosine, from -1 to 1; in a binary index, of the question's vector and the signs of the passage's."""


@dataclass(frozen=True, slots=True)
class FileMatch:
    """A file beside the one that was asked about, and the two passages that are nearest to each other."""

    path: str
    score: float
    own: Hit
    other: Hit


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The vectors of all passages, and whose they are."""

    version: int
    vectors: VectorTable
    paths: Sequence[str]
    """Sorted. Files without passages are not among them."""
    starts: Sequence[int]
    """Where each file's rows begin, and where the last one's end."""


class IndexReader:
    """An index that is open for searching. Threads may share it.

    It holds the vectors in memory: 4 bytes a component, 15 MB for 10,000 passages of 384; a quarter of that if the
    index keeps them as int8, a 32nd if it is binary. The next search sees what a writer has changed.
    """

    def __init__(self, path: Path, model: IndexModel | None = None) -> None:
        """Open an index.

        Args:
            path: the file.
            model: whose vectors it is going to be searched with; not checked if None.

        Raises:
            OtherModel: its vectors are of another model.
            NotAnIndex, IndexDamaged: the file is something else, or cannot be read.
            FileNotFoundError: there is no such file.
        """
        self.path = path
        self._lock = Lock()
        self._loaded: _Loaded | None = None
        self._db = connect(path, writable=False)
        try:
            self.model = model_of(path, self._db)
            self.form = form_of(path, self._db)
            if model is not None:
                check_model(path, self.model, model)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def files(self) -> dict[str, int]:
        """Number of passages of each file that has any, by path."""
        with self._snapshot() as loaded:
            pass
        return {path: loaded.starts[at + 1] - loaded.starts[at] for at, path in enumerate(loaded.paths)}

    def digests(self, paths: Iterable[str]) -> dict[str, str]:
        """The digest of each file's bytes as they were indexed, by path; of those that are in the index."""
        found: dict[str, str] = {}
        with self._lock, damage_named(self.path):
            for path in paths:
                row = self._db.execute("SELECT digest FROM files WHERE path = ?", (path,)).fetchone()
                if row is not None:
                    found[path] = row[0]
        return found

    def search(self, vector: Vectors, k: int, path: str | None = None) -> list[Hit]:
        """The `k` passages nearest to a vector, best first; fewer where there are not so many.

        Args:
            vector: (dimensions,), of any length.
            k: at least 1.
            path: a pattern as in `.gitignore`, such as `docs/` or `*.py`; only files that it matches are searched.

        Raises:
            ValueError: the vector's shape, `k` or the pattern is not one that can be searched with.
        """
        vector = np.asarray(vector, np.float32)
        if vector.shape != (self.model.dimensions,):
            raise ValueError(f"the vector has shape {vector.shape}; the index has {self.model.dimensions} dimensions")
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        matches = None if path is None else path_matcher(path)
        with self._snapshot() as loaded:
            among = None if matches is None else _rows_of(loaded, matches)
            return self._hits(loaded, top_rows(loaded.vectors, unit_vectors(vector), k, among))

    def related(self, path: str, k: int) -> list[FileMatch]:
        """The `k` files nearest to a file, by the pair of passages that is nearest; best first.

        Raises:
            KeyError: the file is not in the index, or has no passages.
        """
        with self._snapshot() as loaded:
            at = bisect_left(loaded.paths, path)
            if at == len(loaded.paths) or loaded.paths[at] != path:
                raise KeyError(path)
            own = slice(loaded.starts[at], loaded.starts[at + 1])
            best, mine, theirs = best_pairs(loaded.vectors, own, loaded.starts[:-1])
            order = [int(file) for file in np.argsort(-best, kind="stable") if file != at][:k]
            pairs = [(int(row), float(best[file])) for file in order for row in (mine[file], theirs[file])]
            hits = self._hits(loaded, pairs)
        return [
            FileMatch(other.path, other.score, own, other) for own, other in zip(hits[::2], hits[1::2], strict=True)
        ]

    @contextmanager
    def _snapshot(self) -> Iterator[_Loaded]:
        """The vectors, read again if the file has changed; whatever a writer does, the file stays the same within."""
        with self._lock, damage_named(self.path), self._db:
            self._db.execute("BEGIN")
            self._db.execute("SELECT name FROM model").fetchall()  # the first read is what fixes the state
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if self._loaded is None or self._loaded.version != version:
                self._loaded = None  # so that two are never in memory
                self._loaded = self._load(version)
            yield self._loaded

    def _load(self, version: int) -> _Loaded:
        stored_bytes = self._db.execute("SELECT coalesce(sum(length(vectors)), 0) FROM files").fetchone()[0]
        dimensions = self.model.dimensions
        vectors = VectorTable.empty(self.form, stored_bytes // row_bytes(self.form, dimensions), dimensions)
        paths: list[str] = []
        starts = [0]
        found = self._db.execute("SELECT path, vectors, checksum FROM files WHERE vectors <> x'' ORDER BY path")
        for path, stored, checksum in found:
            if not isinstance(path, str):
                raise IndexDamaged(f"{self.path} is damaged: a file has no name. Index it again.")
            rows = unpacked_vectors(self.path, stored, checksum, self.form, dimensions)
            vectors.put(starts[-1], rows)
            paths.append(path)
            starts.append(starts[-1] + len(rows))
        return _Loaded(version, vectors, paths, starts)

    def _hits(self, loaded: _Loaded, found: Sequence[tuple[int, float]]) -> list[Hit]:
        """The passages of these rows, each file read once; the text of one file is in memory at a time."""
        files = [bisect_right(loaded.starts, row) - 1 for row, _ in found]
        hits: dict[int, Hit] = {}
        for file in set(files):
            path = loaded.paths[file]
            text, passages = self._file(path)
            if loaded.starts[file + 1] - loaded.starts[file] > len(passages):
                raise IndexDamaged(f"{self.path} is damaged: {path!r} has more vectors than passages. Index it again.")
            for number, (row, score) in enumerate(found):
                if files[number] == file:
                    passage = passages[row - loaded.starts[file]]
                    hits[number] = Hit(path, passage, text[passage.start : passage.end], score)
        return [hits[number] for number in range(len(found))]

    def _file(self, path: str) -> tuple[str, list[Passage]]:
        found = self._db.execute("SELECT text, passages FROM files WHERE path = ?", (path,))
        return unpacked(self.path, *found.fetchone())


def _rows_of(loaded: _Loaded, matches: Callable[[str], bool]) -> NDArray[np.int64]:
    """The rows of the files whose paths match, ascending."""
    parts = [
        np.arange(loaded.starts[at], loaded.starts[at + 1]) for at, path in enumerate(loaded.paths) if matches(path)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
