"""The SQLite file of an index: its schema, how it is opened, and how its rows are coded.

A file of the folder is one row: its text, its passages and their vectors are written and removed together. All vectors
of an index are in one form (`trivet.index.forms`), which the number of the file's format names.

An index may come with a folder that somebody else has made. So nothing in it is taken for what an index should hold: it
has exactly the tables of the schema, and no view or trigger; a text expands to at most `MOST_TEXT_BYTES`; passages are
in order and inside of their text.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from trivet.files import read_regular
from trivet.index.errors import IndexDamaged, IndexUnavailable, NotAnIndex, OtherForm, OtherModel
from trivet.index.forms import StoredForm, row_bytes, stored_rows
from trivet.index.identity import IndexModel
from trivet.passages import Passage, PassageKind

MOST_TEXT_BYTES = 96 * 1024**2
"""Of one text in UTF-8: one and a half times the largest file that is read, which may be UTF-16."""
_FORMATS: dict[int, StoredForm] = {1: "float16", 2: "int8", 3: "binary"}
"""Number of a file's format → the form of its vectors; all else is the same in each."""
_APPLICATION_ID = 0x54525654
"""`TRVT`: what `file` and SQLite know an index by."""
_PAGE_BYTES = 8192
_TIMEOUT_S = 10.0
"""How long a reader waits for a writer's commit, and vice versa."""
_TABLES = {
    "files": """CREATE TABLE files (
    path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, scheme TEXT NOT NULL,
    text BLOB NOT NULL, passages BLOB NOT NULL, vectors BLOB NOT NULL, checksum INTEGER NOT NULL
)""",
    "model": "CREATE TABLE model (name TEXT NOT NULL, revision TEXT NOT NULL, dimensions INTEGER NOT NULL)",
}
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""At the end of a rollback journal that names a further file, which SQLite removes once it has rolled back."""
_MOST_DIMENSIONS = 1 << 16
_KINDS = frozenset(get_args(PassageKind))


def create(path: Path, model: IndexModel, form: StoredForm) -> None:
    """Make an empty index that its owner alone can read. Other processes see all of it or nothing."""
    making = path.with_name(f".{path.name}.{os.getpid()}.new")
    making.unlink(missing_ok=True)
    try:
        os.close(os.open(making, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        db = sqlite3.connect(making, isolation_level=None)
        try:
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            for sql in (_TABLES["model"], _TABLES["files"]):
                db.execute(sql)
            db.execute("INSERT INTO model VALUES (?, ?, ?)", (model.name, model.revision, model.dimensions))
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            [number] = (number for number, one in _FORMATS.items() if one == form)
            db.execute(f"PRAGMA user_version = {number}")
        finally:
            db.close()
        making.rename(path)
    finally:
        making.unlink(missing_ok=True)


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open an existing index. The connection may be used by one thread at a time.

    Raises:
        NotAnIndex: the file is something else.
        IndexDamaged: its first pages cannot be read.
        IndexUnavailable: another process keeps it locked, the disk is full, or the like.
        FileNotFoundError: there is no such file.
    """
    _check_head(path)
    _check_journal(path)
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={'rw' if writable else 'ro'}"
    with damage_named(path):
        db = sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _check_tables(path, db)
    except BaseException:
        db.close()
        raise
    return db


def model_of(path: Path, db: sqlite3.Connection) -> IndexModel:
    """The model whose vectors the index holds."""
    with damage_named(path):
        rows = db.execute("SELECT name, revision, dimensions FROM model").fetchall()
    if [tuple(map(type, row)) for row in rows] != [(str, str, int)] or not 0 < rows[0][2] <= _MOST_DIMENSIONS:
        raise IndexDamaged(f"{path} is damaged: it does not say of which model its vectors are. {_REBUILD}")
    return IndexModel(*rows[0])


def check_model(path: Path, indexed: IndexModel, asked: IndexModel) -> None:
    """Refuse an index of another model, by name."""
    if indexed != asked:
        raise OtherModel(
            f"{path} holds vectors of {indexed}, not of {asked}: the two cannot be compared. "
            "Use the model of the index, or delete the file and index the folder again."
        )


def form_of(path: Path, db: sqlite3.Connection) -> StoredForm:
    """The form of the vectors that the index holds.

    Raises:
        NotAnIndex: the file is an index of another version of Trivet.
    """
    with damage_named(path):
        number = db.execute("PRAGMA user_version").fetchone()[0]
    if number not in _FORMATS:
        raise NotAnIndex(
            f"{path} is an index of format {number}; this version of Trivet reads formats 1 to {max(_FORMATS)}. "
            "Delete it and index the folder again, or use the version that made it."
        )
    return _FORMATS[number]


def check_form_of(path: Path, indexed: StoredForm, asked: StoredForm | None) -> None:
    """Refuse an index whose vectors have another form than the one that is asked for; None asks for none."""
    if asked not in (None, indexed):
        raise OtherForm(
            f"{path} keeps its vectors as {indexed}, not as {asked}: an index has one form. "
            f"Leave the form out to go on with {indexed}, or delete the file and index the folder again."
        )


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns SQLite's complaints into an error that names the file, and says whether its content is to blame."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
            raise IndexUnavailable(f"{path} cannot be used now: {error}") from error
        raise IndexDamaged(f"{path} is damaged ({error}). {_REBUILD}") from error


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT)
"""`SQLITE_ERROR` is a table that is not there. Others, such as a lock or a full disk, say nothing about the content."""
_REBUILD = "Delete it and index the folder again."


def _check_head(path: Path) -> None:
    """Refuse what is not an SQLite file with the mark of an index, before SQLite makes anything of it."""
    head = read_regular(path, 99)
    if not head.startswith(b"SQLite format 3\0") or head[68:72] != _APPLICATION_ID.to_bytes(4, "big"):
        raise NotAnIndex(f"{path} is not an index made by Trivet; it was left as it is. Name another file.")


def _check_tables(path: Path, db: sqlite3.Connection) -> None:
    """Refuse a format of another version, and an index with anything but the tables of the schema."""
    form_of(path, db)
    with damage_named(path):
        found = db.execute("SELECT name, sql FROM sqlite_schema WHERE type <> 'index' ORDER BY name").fetchall()
    if dict(found) != _TABLES:
        raise IndexDamaged(f"{path} is damaged: it does not have the tables of an index. {_REBUILD}")


def _check_journal(path: Path) -> None:
    """Refuse a journal that names a file for SQLite to remove. Trivet's never do, since they concern one file."""
    journal = path.with_name(f"{path.name}-journal")
    try:
        with os.fdopen(os.open(journal, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            file.seek(-min(len(_SUPER_JOURNAL), os.fstat(file.fileno()).st_size), os.SEEK_END)
            end = file.read()
    except OSError:  # there is none, or none that SQLite would take
        return
    if end == _SUPER_JOURNAL:
        raise IndexDamaged(f"{journal} is not Trivet's: it names a file to remove. Delete it. {_REBUILD}")


def packed_text(text: str) -> bytes:
    """The text, compressed. ValueError if it is longer than what is read again."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > MOST_TEXT_BYTES:
        raise ValueError(f"a text has {len(encoded)} bytes; the limit is {MOST_TEXT_BYTES}")
    return zlib.compress(encoded)


def packed_passages(passages: Sequence[Passage]) -> bytes:
    """The passages as JSON arrays."""
    rows = [[at.start, at.end, at.first_line, at.last_line, at.kind, at.title] for at in passages]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def unpacked(path: Path, text: bytes, passages: bytes) -> tuple[str, list[Passage]]:
    """What `packed_text` and `packed_passages` packed."""
    try:
        rows = json.loads(passages.decode("utf-8", "surrogatepass"))
        decoded = _expanded(text).decode("utf-8", "surrogatepass")
        return decoded, _in_order([Passage(*row) for row in rows], len(decoded))
    except (ValueError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        raise IndexDamaged(f"{path} is damaged: the passages of a file cannot be read ({error}). {_REBUILD}") from error


def _expanded(compressed: bytes) -> bytes:
    stream = zlib.decompressobj()
    expanded = stream.decompress(compressed, MOST_TEXT_BYTES)
    if not stream.eof:
        raise ValueError(f"a text is cut off, or longer than {MOST_TEXT_BYTES} bytes")
    return expanded


def _in_order(passages: list[Passage], length: int) -> list[Passage]:
    """Return the passages of a text, which do not overlap: together they are not longer than the text."""
    before = 0
    for at in passages:
        places = (at.start, at.end, at.first_line, at.last_line)
        if not all(isinstance(place, int) for place in places) or not before <= at.start <= at.end <= length:
            raise ValueError("a passage is not where one can be")
        if at.kind not in _KINDS or not isinstance(at.title, str | None):
            raise ValueError("a passage is of no kind that there is")
        before = at.end
    return passages


def unpacked_vectors(path: Path, stored: bytes, checksum: int, form: StoredForm, dimensions: int) -> NDArray[Any]:
    """The rows of one file, as stored: (passages, dimensions), or (passages, dimensions / 8) of bits."""
    is_whole = isinstance(stored, bytes) and zlib.crc32(stored) == checksum
    if not is_whole or len(stored) % row_bytes(form, dimensions):
        raise IndexDamaged(f"{path} is damaged: the vectors of a file are not those that were written. {_REBUILD}")
    rows = stored_rows(stored, form, dimensions)
    if form == "float16" and not np.isfinite(rows).all():  # such a row would be found by every search, or by none
        raise IndexDamaged(f"{path} is damaged: the vectors of a file hold numbers that are not finite. {_REBUILD}")
    return rows
