"""An index has one writer, grows file by file, and survives the death of the process that writes it."""

import json
import os
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.index.support import MODEL, axis, make, put, state
from trivet.errors import InvalidInput
from trivet.index import (
    FileState,
    IndexDamaged,
    IndexInUse,
    IndexModel,
    IndexReader,
    IndexUnavailable,
    IndexWriter,
    NotAnIndex,
    OtherForm,
    OtherModel,
    Plan,
    digest_of,
)
from trivet.index.file import MOST_TEXT_BYTES, packed_text
from trivet.index.forms import StoredForm
from trivet.index.plan import plan

ROOT = Path(__file__).parents[2]
USES: tuple[Callable[[Path], object], ...] = (IndexReader, lambda path: IndexWriter(path, MODEL))
"""Both ways to open an index."""


def test_the_plan_compares_contents_and_schemes() -> None:
    indexed = {"same": state("1"), "edited": state("1"), "divided otherwise": state("1"), "gone": state("9")}
    found = {"same": state("1"), "edited": state("2"), "divided otherwise": state("1", "2:192"), "new": state("8")}
    assert plan(indexed, found.items()) == Plan(["new"], ["divided otherwise", "edited"], ["gone"], ["same"])
    # A moved file is copied from where it was; a copy of a file that has changed meanwhile is not there to be copied.
    found = {"edited": state("2"), "moved": state("3"), "as edited was": state("1")}
    indexed = {"edited": state("1"), "old": state("3")}
    assert plan(indexed, found.items()) == Plan(["as edited was"], ["edited"], ["old"], [], [("moved", "old")])
    assert digest_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_run_that_goes_on_has_less_to_do(tmp_path: Path) -> None:
    now = {"a": state("1"), "b": state("b")}
    with IndexWriter(tmp_path / "x", MODEL) as writer:
        assert writer.plan(now.items()).added == ["a", "b"]
        put(writer, "a", "text", [axis(1)])
    with IndexWriter(tmp_path / "x", MODEL) as writer:
        assert writer.plan(now.items()) == Plan(["b"], [], [], ["a"])
        put(writer, "a", "other", [axis(2)], "2")
        assert writer.plan(now.items()) == Plan(["b"], ["a"], [], [])
        writer.copy("b", "a")
        writer.copy("c", "not there")
        assert writer.files() == {"a": state("2"), "b": state("2")}
        writer.remove(["a", "b", "not there"])
        assert writer.files() == {}


def test_the_file_is_one_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    assert os.listdir(tmp_path) == ["x"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with IndexWriter(path, MODEL) as writer:
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
        put(writer, "b", "text", [axis(1)])
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert os.listdir(tmp_path) == ["x"]


def test_a_removed_file_gives_its_room_back(tmp_path: Path) -> None:
    path = tmp_path / "x"
    text = "\n".join(digest_of(str(number).encode()) for number in range(20_000))  # does not compress well
    with IndexWriter(path, MODEL) as writer:
        writer.put("large", state("1"), text, [], np.empty((0, 8), np.float32))
    large_bytes = path.stat().st_size
    with IndexWriter(path, MODEL) as writer:
        writer.remove(["large"])
    assert path.stat().st_size < large_bytes / 10


def test_vectors_of_a_wrong_shape_or_without_a_direction_are_refused(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "x", MODEL) as writer:
        with pytest.raises(ValueError, match=r"the vectors of 'a' have shape \(1, 3\); expected \(1, 8\)"):
            put(writer, "a", "text", [np.ones(3, np.float32)])
        with pytest.raises(ValueError, match=r"shape \(2, 8\); expected \(0, 8\)"):
            writer.put("a", state("1"), "text", [], np.ones((2, 8), np.float32))
        with pytest.raises(ValueError, match="a vector of 'a' has a component that is not a finite number"):
            put(writer, "a", "text", [axis(1) * np.float32("nan")])
        assert writer.files() == {}


def test_another_model_another_revision_or_length_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    before = path.read_bytes()
    for other in (
        IndexModel("other", "abc", 8),
        IndexModel("starter-embedder", "def", 8),
        IndexModel("starter-embedder", "abc", 9),
    ):
        for opened in (IndexWriter, IndexReader):
            with pytest.raises(OtherModel) as refused:
                opened(path, other)
            assert str(refused.value).startswith(f"{path} holds vectors of {MODEL}, not of {other}: ")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("content", [b"", b"notes", b"SQLite format 3\0" + bytes(100), b"x" * 4096])
def test_a_file_that_is_no_index_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    for opened in (IndexWriter, IndexReader):
        with pytest.raises(NotAnIndex, match="is not an index made by Trivet; it was left as it is"):
            opened(path, MODEL)
    assert path.read_bytes() == content


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE files (path)")
    db.close()
    with pytest.raises(NotAnIndex):
        IndexWriter(path, MODEL)


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {})
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(NotAnIndex, match="is an index of format 7; this version of Trivet reads formats 1 to 3"):
        IndexReader(path)


@pytest.mark.parametrize(("form", "vector_bytes"), [("float16", 16), ("int8", 8), ("binary", 1)])
def test_an_index_keeps_vectors_in_the_form_that_it_was_made_with(
    tmp_path: Path, form: StoredForm, vector_bytes: int
) -> None:
    path = tmp_path / "x"
    with IndexWriter(path, MODEL, form) as writer:
        put(writer, "a", "one\ntwo", [axis(1), axis(2)])
    with IndexWriter(path, MODEL) as writer:
        assert writer.form == form
        put(writer, "b", "three", [axis(3)])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT length(vectors) FROM files ORDER BY path").fetchall() == [
            (2 * vector_bytes,),
            (vector_bytes,),
        ]
    with IndexReader(path, MODEL) as reader:
        assert [reader.search(axis(number), 1)[0].text for number in (1, 2, 3)] == ["one", "two", "three"]
    other: StoredForm = "int8" if form != "int8" else "binary"
    with pytest.raises(OtherForm, match=f"keeps its vectors as {form}, not as {other}"):
        IndexWriter(path, MODEL, other)
    assert os.listdir(tmp_path) == ["x"]


def test_signs_that_fill_no_bytes_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="binary needs a number of dimensions that is a multiple of 8, not 12"):
        IndexWriter(tmp_path / "x", IndexModel("m", "r", 12), "binary")
    assert os.listdir(tmp_path) == []


def test_no_file_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        IndexReader(tmp_path / "x")
    assert os.listdir(tmp_path) == []


def damaged(path: Path) -> list[str]:
    """What comes of using the file, in all ways."""
    said = []
    for use in (
        lambda: IndexReader(path).search(axis(1), 5),
        lambda: IndexReader(path).related("f1", 5),
        lambda: IndexWriter(path, MODEL).close(),
    ):
        try:
            use()
        except IndexDamaged as error:
            said.append(str(error))
    return said


def test_damage_is_named_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {f"f{number}": [axis(number % 8) for number in range(400)] for number in range(3)})
    whole = path.read_bytes()
    found = 0
    for at in range(100, len(whole), 4057):
        path.write_bytes(whole[:at] + bytes(value ^ 0x5A for value in whole[at : at + 64]) + whole[at + 64 :])
        said = damaged(path)  # nothing but IndexDamaged is raised, and no wrong vectors are used in silence
        assert all(text.startswith(f"{path} is damaged") for text in said)
        found += bool(said)
    assert found > len(whole) / 4057 / 2
    path.write_bytes(whole[: len(whole) // 2])
    assert damaged(path)


def test_a_lock_that_is_a_link_is_named_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "x.lock").symlink_to("precious")
    with pytest.raises(IndexUnavailable, match=r"x\.lock cannot be made, which locks .*symbolic links"):
        IndexWriter(tmp_path / "x", MODEL)
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_numbers_are_damage(tmp_path: Path, value: float) -> None:
    """With a checksum that fits: another program wrote them."""
    path = tmp_path / "x"
    make(path, {"a": [axis(1)], "b": [axis(2)]})
    row = axis(1).astype("<f2")
    row[3] = value
    change(path, "UPDATE files SET vectors = ? WHERE path = 'a'", row.tobytes())
    change(path, "UPDATE files SET checksum = ? WHERE path = 'a'", zlib.crc32(row.tobytes()))
    for search in (lambda reader: reader.search(axis(1), 5), lambda reader: reader.related("b", 5)):
        with IndexReader(path, MODEL) as reader, pytest.raises(IndexDamaged, match="numbers that are not finite"):
            search(reader)


def test_a_second_writer_is_refused_and_learns_which_process_is_the_first(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with IndexWriter(path, MODEL):
        with pytest.raises(IndexInUse, match=f"is being written by process {os.getpid()}; an index takes one writer"):
            IndexWriter(path, MODEL)
        said = subprocess.run(
            [sys.executable, "-c", WRITE, str(path), "0"], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert "IndexInUse" in said.stderr
    with IndexWriter(path, MODEL):
        pass


WRITE = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, ".")
    from pathlib import Path
    from tests.index.support import MODEL, axis, put
    from trivet.index import IndexWriter

    writer = IndexWriter(Path(sys.argv[1]), MODEL)
    for number in range(int(sys.argv[2])):
        put(writer, f"{number:05}", f"text {number}\\n" * 50 + "end", [axis(number % 8)] * 51)
        print(number, flush=True)
    """
)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 7, 40])
def test_a_killed_writer_leaves_what_it_has_written(tmp_path: Path, after: int) -> None:
    path = tmp_path / "x"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), "1000000"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    written = -1
    while written < after:
        written = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = int((process.stdout.read().split() or [str(written)])[-1])
    process.stdout.close()
    with IndexReader(path, MODEL) as reader:  # before any writer has put things right
        assert len(reader.files()) >= written + 1
        assert set(reader.files().values()) == {51}
        assert reader.search(axis(0), 1)[0].text == "text 0"
    with IndexWriter(path, MODEL) as writer:
        states = writer.files()
        assert states.keys() >= {f"{number:05}" for number in range(written + 1)}
        assert len(states) <= written + 2
        put(writer, "after", "text", [axis(1)])
    assert os.listdir(tmp_path) == ["x"]


def test_states_are_kept_as_they_are_given(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "x", MODEL) as writer:
        put(writer, "é/日本.md", "one\ntwo", [axis(1), axis(2)], "digest")
        assert writer.files() == {"é/日本.md": FileState("digest", "1:192")}
    with IndexReader(tmp_path / "x") as reader:
        assert [hit.text for hit in reader.search(axis(2), 1, "é")] == ["two"]


def test_a_reader_that_is_open_does_not_keep_a_writer_from_closing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    with IndexReader(path) as reader:
        reader.search(axis(1), 1)
        with IndexWriter(path, MODEL) as writer:
            put(writer, "b", "text", [axis(2)])
        assert reader.search(axis(2), 1)[0].path == "b"
    with IndexWriter(path, MODEL):
        pass
    assert os.listdir(tmp_path) == ["x"]


def test_an_index_that_is_locked_by_another_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.index.file._TIMEOUT_S", 0.0)
    path = tmp_path / "index"
    IndexWriter(path, MODEL).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for use in USES:
            with pytest.raises(IndexUnavailable, match="index cannot be used now: database is locked"):
                use(path)


def test_files_that_a_stranger_has_put_beside_an_index_are_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    for end in ("-wal", "-journal"):
        precious.write_text("kept")
        (tmp_path / f"index{end}").symlink_to(precious)
        with pytest.raises(IndexUnavailable, match="unable to open"):
            IndexWriter(tmp_path / "index", MODEL)
        assert precious.read_text() == "kept"
        (tmp_path / f"index{end}").unlink()


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_an_index_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index")
    for use in USES:
        with pytest.raises(OSError, match="not a regular file"):
            use(tmp_path / "index")


@pytest.mark.slow
def test_a_text_expands_to_a_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    bomb = zlib.compress(bytes(MOST_TEXT_BYTES + 1), 9)
    assert len(bomb) < MOST_TEXT_BYTES / 900
    change(path, "UPDATE files SET text = ?", bomb)
    with IndexReader(path) as reader, pytest.raises(IndexDamaged, match="longer than"):
        reader.search(axis(1), 1)
    with pytest.raises(ValueError, match="the limit is"):
        packed_text("x" * (MOST_TEXT_BYTES + 1))


@pytest.mark.parametrize(
    "passages",
    [
        pytest.param([[0, 3, 1, 1, "lines", None]] * 2, id="twice"),
        pytest.param([[0, 1 << 40, 1, 1, "lines", None]], id="beyond the text"),
        pytest.param([[-3, 3, 1, 1, "lines", None]], id="before the text"),
        pytest.param([["0", "3", 1, 1, "lines", None]], id="in words"),
        pytest.param([[0, 3, 1, 1, "\x1b[2J", None]], id="of an unknown kind"),
        pytest.param([[0, 3, 1, 1, "lines", 7]], id="a number as title"),
        pytest.param([[0]], id="incomplete"),
        pytest.param(7, id="a number"),
    ],
)
def test_passages_are_places_of_their_text(tmp_path: Path, passages: object) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    change(path, "UPDATE files SET passages = ?", json.dumps(passages).encode())
    with IndexReader(path) as reader, pytest.raises(IndexDamaged, match="passages of a file"):
        reader.search(axis(1), 1)


def test_passages_nested_without_end_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    change(path, "UPDATE files SET passages = ?", b"[" * 100_000)
    with IndexReader(path) as reader, pytest.raises(IndexDamaged):
        reader.search(axis(1), 1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER DELETE ON files BEGIN DELETE FROM model; END",
        "CREATE VIEW v AS SELECT * FROM files",
        "ALTER TABLE files ADD COLUMN more BLOB AS (zeroblob(1000000000))",
        """DROP TABLE files; CREATE VIEW files AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT i AS path, '' AS digest, '' AS scheme, '' AS text, '' AS passages, x'00' AS vectors, 0 AS checksum
        FROM n""",
    ],
)
def test_an_index_has_its_own_tables_and_nothing_else(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    with closing(sqlite3.connect(path)) as db:
        db.executescript(sql)
    for use in USES:
        with pytest.raises(IndexDamaged, match="tables of an index"):
            use(path)


@pytest.mark.parametrize("value", [None, 7, 1.5, "text", b"\xff\xfe"], ids=repr)
@pytest.mark.parametrize(
    "column", ["path", "digest", "scheme", "text", "passages", "vectors", "checksum", "name", "revision", "dimensions"]
)
def test_whatever_a_column_holds_is_damage_at_worst(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "x"
    make(path, {"a": [axis(1)], "b": [axis(2)]})
    table = "model" if column in ("name", "revision", "dimensions") else "files"
    change(path, f"UPDATE {table} SET {column} = ?" + (" WHERE path = 'a'" if table == "files" else ""), value)

    def plan() -> None:
        with IndexWriter(path, MODEL) as writer:
            writer.plan([("a", state("1")), ("c", state("2"))])

    for use in (lambda: IndexReader(path, MODEL).search(axis(1), 5), lambda: IndexReader(path).related("b", 5), plan):
        with suppress(IndexDamaged, OtherModel):
            use()


def change(path: Path, sql: str, value: object) -> None:
    """Change an index without its rules, as a stranger would."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        tables = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '')")
        db.commit()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql, (value,))
        db.execute("PRAGMA writable_schema = ON")
        db.executemany("UPDATE sqlite_schema SET sql = ? WHERE name = ?", [(text, name) for name, text in tables])


def test_a_journal_cannot_name_a_file_to_remove(tmp_path: Path) -> None:
    """SQLite removes the file that a journal names as its super-journal once it has rolled back."""
    path = tmp_path / "x"
    make(path, {"a": [axis(1)]})
    precious = tmp_path / "precious"
    precious.write_text("kept")
    journal = tmp_path / "x-journal"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM files")
        content = journal.read_bytes()  # of a process that has been killed, but for its head
        db.execute("ROLLBACK")
    name = bytes(precious)
    rest = struct.pack(">II", len(name), sum(name)) + bytes.fromhex("d9d505f920a163d7")
    head = bytes.fromhex("d9d505f920a163d7ffffffff") + content[12:]
    journal.write_bytes(head + struct.pack(">I", (1 << 30) // 8192 + 1) + name + rest)
    for use in USES:
        with pytest.raises(IndexDamaged, match="x-journal is not Trivet's"):
            use(path)
    assert precious.read_text() == "kept"
    with closing(sqlite3.connect(path)) as db:  # what SQLite would do
        assert db.execute("SELECT count(*) FROM files").fetchone() == (1,)
    assert not precious.exists()
