"""Writes to an index: one process at a time, one file of the folder at a time."""

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

import numpy as np
from filelock import FileLock, Timeout

from trivet.index.errors import IndexDamaged, IndexInUse, IndexUnavailable
from trivet.index.file import (
    check_form_of,
    check_model,
    connect,
    create,
    damage_named,
    form_of,
    model_of,
    packed_passages,
    packed_text,
)
from trivet.index.forms import DEFAULT_FORM, StoredForm, Vectors, check_form, packed_vectors
from trivet.index.identity import IndexModel
from trivet.index.plan import FileState, Plan, plan
from trivet.passages import Passage

_LOG_AHEAD_TRIES = 40
_LOG_AHEAD_PAUSE_S = 0.05


class IndexWriter:
    """An index that is being written. Use it with `with`; one thread at a time.

    What `put` and `remove` have done stays when the process is killed. A crash of the whole machine may lose the newest
    changes, not the file.
    """

    def __init__(self, path: Path, model: IndexModel, form: StoredForm | None = None) -> None:
        """Open the index, or make it.

        Args:
            path: the file, in a folder that exists, on a local disk.
            model: whose vectors are going to be written.
            form: how it keeps vectors; None: as it does already, and as 16-bit floats if it is new.

        Raises:
            IndexInUse: another process writes to it.
            OtherModel: the vectors that it holds are of another model.
            OtherForm: it keeps vectors in another form.
            InvalidInput: the form is binary, and the dimensions are not a multiple of 8.
            NotAnIndex, IndexDamaged: the file is something else, or cannot be read.
            IndexUnavailable: SQLite cannot write it: the disk is full, or another program keeps it locked. Or the file
                that locks it cannot be made.
        """
        check_form(form or DEFAULT_FORM, model.dimensions)
        self.path = path
        self.model = model
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), mode=0o600)
        self._acquire()
        try:
            if not path.exists():
                with suppress(FileExistsError), damage_named(path):
                    create(path, model, form or DEFAULT_FORM)
            self._db = self._connected(form)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def files(self) -> dict[str, FileState]:
        """What is in the index, by path."""
        with damage_named(self.path):
            rows = self._db.execute("SELECT path, digest, scheme FROM files").fetchall()
        if not all(isinstance(value, str) for row in rows for value in row):
            raise IndexDamaged(f"{self.path} is damaged: what it says of a file is no text. Index it again.")
        return {path: FileState(digest, scheme) for path, digest, scheme in rows}

    def plan(self, found: Iterable[tuple[str, FileState]]) -> Plan:
        """What to put and what to remove, so that the index holds these files in these states."""
        return plan(self.files(), found)

    def put(self, path: str, state: FileState, text: str, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Add a file, or replace it: all of it, or nothing where the process dies.

        Args:
            path: as it is to be shown and searched, with `/` between its parts.
            state: what `plan` compares.
            text: the whole text, which `passages` are places of.
            passages: in order.
            vectors: one row per passage, (passages, dimensions); they need not have length one.

        Raises:
            ValueError: the vectors are not of that shape, or not all finite.
        """
        vectors = np.asarray(vectors, np.float32)
        expected = (len(passages), self.model.dimensions)
        if vectors.size == 0 and not passages:
            vectors = vectors.reshape(expected)
        if vectors.shape != expected:
            raise ValueError(f"the vectors of {path!r} have shape {vectors.shape}; expected {expected}")
        if not np.isfinite(vectors).all():
            raise ValueError(f"a vector of {path!r} has a component that is not a finite number")
        stored = packed_vectors(vectors, self.form)
        row = (path, state.digest, state.scheme, packed_text(text), packed_passages(passages), stored, crc32(stored))
        with damage_named(self.path):
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def copy(self, path: str, source: str) -> None:
        """Add a file with the content, passages and vectors of another one that is in the index."""
        with damage_named(self.path):
            self._db.execute(
                "INSERT OR REPLACE INTO files SELECT ?, digest, scheme, text, passages, vectors, checksum "
                "FROM files WHERE path = ?",
                (path, source),
            )

    def remove(self, paths: Iterable[str]) -> None:
        """Take files out, all at once. Paths that are not in the index are passed over."""
        with damage_named(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])

    def close(self) -> None:
        """Give unused space back, leave one file behind, and let others write."""
        try:
            with suppress(sqlite3.OperationalError):  # readers are open: the next writer does it
                self._db.executescript("PRAGMA incremental_vacuum")  # `execute` frees one page
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                # With a rollback journal the file needs no others beside it, not even to be read in a read-only folder.
                self._db.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            self._db.close()
            self._release()

    def _connected(self, form: StoredForm | None) -> sqlite3.Connection:
        db = connect(self.path, writable=True)
        try:
            check_model(self.path, model_of(self.path, db), self.model)
            self.form = form_of(self.path, db)
            check_form_of(self.path, self.form, form)
            with damage_named(self.path):
                _log_ahead(db)
                db.execute("PRAGMA synchronous = NORMAL")
            self.path.chmod(0o600)  # whatever a copy of it was made with
        except BaseException:
            db.close()
            raise
        return db

    def _acquire(self) -> None:
        """Lock the index by a file beside it, which names the process."""
        lock_path = Path(self._lock.lock_file)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            with suppress(OSError):
                holder = lock_path.read_text().strip()
            by = f"process {holder}" if holder else "another process"
            raise IndexInUse(
                f"{self.path} is being written by {by}; an index takes one writer at a time. "
                "Wait for it, end it, or write to another file."
            ) from None
        except OSError as error:  # such as a link of this name, which is not followed
            raise IndexUnavailable(f"{lock_path} cannot be made, which locks {self.path}: {error.strerror}") from error
        lock_path.write_text(str(os.getpid()))

    def _release(self) -> None:
        """Remove the file and unlock. A process that has just opened it finds it removed and makes another."""
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()


def _log_ahead(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on, by which readers go on beside a writer.

    SQLite does not wait for searches under way before it turns it on. Where they do not end, the rollback journal
    remains: then searches and writes wait for each other.
    """
    for _ in range(_LOG_AHEAD_TRIES):
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            time.sleep(_LOG_AHEAD_PAUSE_S)
