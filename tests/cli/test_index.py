"""`trivet index`: embeds what has changed, goes on where a run ended, and never damages a file that is no index."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import TAKEN, Run
from tests.support.dispatcher import EMBEDDER, FakeDispatcher, inputs_of, vector_of
from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import PassagesConfig
from trivet.dispatch.protocol import Routed
from trivet.errors import EngineError
from trivet.folders.indexing import index_path
from trivet.index import IndexReader, IndexWriter
from trivet.messages import EmbedRequest, ModelCard, Request, ResultT
from trivet.relations.division import Document, divide

INDEXED = [path.removeprefix("repo/") for path in TAKEN]


def paths(index: Path) -> list[str]:
    with IndexReader(index) as reader:
        return sorted(reader.files())


def embedded(dispatcher: FakeDispatcher) -> int:
    """Texts embedded so far."""
    return sum(len(request.texts) for request in dispatcher.requests if isinstance(request, EmbedRequest))


@pytest.mark.slow
def test_passages_have_places_vectors_and_the_titles_around_them(
    run: Run, folder: Path, dispatcher: FakeDispatcher
) -> None:
    methods = "".join(f"    def f{n}(self):\n        return {' '.join('x' * 90)}\n\n" for n in range(9))
    (folder / "long.py").write_text(f"class Long:\n{methods}")
    result = run("index", "repo")
    assert result.exit_code == 0, result.output
    assert f"{len(TAKEN) + 1} files indexed ({len(TAKEN) + 1} new, 0 changed, 0 removed)" in result.stderr
    with IndexReader(index_path(folder)) as reader:
        assert (reader.model.name, reader.model.revision) == (EMBEDDER.name, EMBEDDER.revision)
        counts = reader.files()
        assert sorted(counts) == sorted([*INDEXED, "long.py"])
        assert counts["long.py"] > 3
        hits = reader.search(vector_of("def f7(self):"), 3, "long.py")
        hit = next(hit for hit in hits if "def f7" in hit.text)
        lines = (folder / "long.py").read_text().split("\n")
        assert hit.text == "\n".join(lines[hit.passage.first_line - 1 : hit.passage.last_line])
        assert hit.passage.title == "class Long"
        assert reader.search(vector_of(f"{hit.passage.title}\n{hit.text}"), 1)[0].score == pytest.approx(1, abs=1e-3)
    requests = [request for request in dispatcher.requests if isinstance(request, EmbedRequest)]
    assert {(request.input_type, request.priority) for request in requests} == {("document", "bulk")}


def test_a_second_run_embeds_only_what_is_new(run: Run, folder: Path, dispatcher: FakeDispatcher) -> None:
    assert run("index", "repo").exit_code == 0
    count = embedded(dispatcher)
    assert count == len(TAKEN)
    result = run("index", "repo")
    assert f"{len(TAKEN)} files indexed (0 new, 0 changed, 0 removed); 0 passages embedded" in result.stderr
    assert embedded(dispatcher) == count
    assert paths(index_path(folder)) == sorted(INDEXED)  # the index is not indexed, although it is in the folder

    (folder / "sub" / "z.py").rename(folder / "moved.py")
    (folder / "a.py").write_text("changed = True\n")
    result = run("index", "repo")
    assert "(1 new, 1 changed, 1 removed)" in result.stderr
    assert embedded(dispatcher) == count + 1  # a file that moved keeps its vectors
    assert paths(index_path(folder)) == sorted({*INDEXED, "moved.py"} - {"sub/z.py"})
    with IndexReader(index_path(folder)) as reader:
        assert reader.search(vector_of("PI = 3.14"), 1)[0].path == "moved.py"


def test_an_index_may_be_in_the_folder_and_ignores_itself(run: Run, folder: Path) -> None:
    for _ in range(2):
        assert run("index", "repo", "--out", "repo/i.trivet").exit_code == 0
    assert paths(folder / "i.trivet") == sorted(INDEXED)
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith("i.trivet")) == ["i.trivet"]
    assert run("index", "repo").exit_code == 0
    assert (folder / ".trivet" / ".gitignore").read_text() == "*\n"


def test_pictures_and_binary_files_are_skipped_and_counted(run: Run, folder: Path) -> None:
    (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><text>free VRAM</text></svg>")
    (folder / "drawing.xml").write_text("<?xml version='1.0'?>\n<!-- a --><svg><text>free VRAM</text></svg>")
    (folder / "data.bin").write_bytes(b"\0\1")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("coffee")
    result = run("index", "repo")
    assert result.exit_code == 0, result.output
    for line in ("drawing.svg: a picture", "drawing.xml: a picture", "data.bin: binary", "picture.png: a picture"):
        assert f"skipped repo/{line}\n" in result.stderr
    assert "skipped 11 in all: ignored by git's rules (3), a picture (3)," in result.stderr
    assert r"skipped repo/caf\xe9.txt: its name is not UTF-8" in result.stderr
    assert paths(index_path(folder)) == sorted(INDEXED)


class Upgraded(FakeDispatcher):
    """Serves another revision of the embedder."""

    async def models(self) -> list[ModelCard]:
        cards = list(await super().models())
        cards[0] = ModelCard("embedder", EMBEDDER.name, "r9", 256, dimensions=EMBEDDER.dimensions, precision="fp32")
        return cards


@pytest.mark.slow
def test_an_index_of_another_model_or_length_is_replaced_only_on_request(
    run: Run, folder: Path, dispatcher: FakeDispatcher
) -> None:
    assert run("index", "repo").exit_code == 0
    result = run("index", "repo", "--dimensions", "4")
    assert result.exit_code == 1
    assert "of tests/fake-embedder at revision r1 with 64 dimensions, not of" in result.stderr
    with served(create_app(Upgraded(), ApiSettings())) as url:
        result = run("index", "repo", server=url)
        assert result.exit_code == 1
        assert "--rebuild" in result.stderr
        result = run("index", "repo", "--rebuild", "--dimensions", "4", server=url)
        assert result.exit_code == 0, result.output
    with IndexReader(index_path(folder)) as reader:
        assert (reader.model.revision, reader.model.dimensions) == ("r9", 4)
        assert sorted(reader.files()) == sorted(INDEXED)


class StopsMidway(FakeDispatcher):
    """Fails at the last texts."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if "text 99" in inputs_of(request):
            raise EngineError("broken")
        return await super().call(request)


@pytest.fixture
def many(tmp_path: Path) -> int:
    (tmp_path / "many").mkdir()
    for number in range(100):
        (tmp_path / "many" / f"{number:03}.txt").write_text(f"text {number}")
    return 100


@pytest.mark.slow
def test_the_vectors_of_a_failed_run_are_kept(run: Run, tmp_path: Path, many: int, dispatcher: FakeDispatcher) -> None:
    with served(create_app(StopsMidway(), ApiSettings())) as url:
        result = run("index", "many", server=url)
    assert result.exit_code == 1
    assert "error: broken" in result.stderr
    kept = len(paths(index_path(tmp_path / "many")))
    assert kept == 96  # whole groups of 32 files
    assert run("index", "many").exit_code == 0
    assert embedded(dispatcher) == many - kept
    assert len(paths(index_path(tmp_path / "many"))) == many


@pytest.mark.parametrize("content", ["my notes", "my notes\n", '{"a": 1}\n', "SQLite format 3\0" + "x" * 100])
def test_a_file_that_is_not_an_index_is_not_changed(run: Run, folder: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "notes.txt").write_text(content)
    for arguments in ([], ["--rebuild"]):
        result = run("index", "repo", "--out", "notes.txt", *arguments)
        assert result.exit_code == 1
        assert "notes.txt is not an index" in result.stderr
        assert (tmp_path / "notes.txt").read_text() == content


class Slow(FakeDispatcher):
    """Answers every embedding request except the first after 20 s."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if self.requests:
            await asyncio.sleep(20)
        return await super().call(request)


@pytest.mark.slow  # starts an interpreter
def test_ctrl_c_stops_immediately_and_keeps_the_vectors(tmp_path: Path, many: int) -> None:
    index = tmp_path / "i.trivet"
    with served(create_app(Slow(), ApiSettings())) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "trivet", "index", str(tmp_path / "many"), "--out", str(index)],
            env={**os.environ, "TRIVET_URL": url},
            stderr=subprocess.PIPE,
            text=True,
            # If a shell has started the tests in the background, they ignore Ctrl-C, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline_s = time.monotonic() + 60
        while not index.exists() or not paths(index):
            assert time.monotonic() < deadline_s, "nothing was written"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        _, stderr = process.communicate(timeout=15)
        assert time.monotonic() - started_s < 15
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert len(paths(index)) == 32


@pytest.mark.slow
def test_a_folder_of_any_depth_is_read(run: Run, tmp_path: Path) -> None:
    deepest = tmp_path / "deep"
    deepest.mkdir()
    (deepest / "a.txt").write_text("a text near the top")
    descriptor = os.open(deepest, os.O_RDONLY)
    for _ in range(1200):  # a path of this length cannot be given to the system in one piece
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    with os.fdopen(os.open("b.txt", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor), "w") as file:
        file.write("a text far below")
    os.close(descriptor)
    try:
        result = run("index", "deep", "--out", "i.trivet")
    finally:  # pytest removes folders recursively, which ends in an error here
        subprocess.run(["rm", "-rf", deepest], check=True)
    assert result.exit_code == 0, result.output
    assert "2 files indexed" in result.stderr


def test_an_index_takes_one_writer(run: Run, folder: Path) -> None:
    assert run("index", "repo").exit_code == 0
    with IndexReader(index_path(folder)) as reader:
        model = reader.model
    with IndexWriter(index_path(folder), model):
        second = run("index", "repo")
        assert second.exit_code == 1
        assert f"is being written by process {os.getpid()}" in second.stderr
    assert run("index", "repo").exit_code == 0


def test_names_cannot_send_codes_to_the_terminal(run: Run, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "\x1b]0;title\x07\x1b[2J\u202e.bin").write_bytes(b"\0")
    (evil / "\x1b[31mred.txt").write_text("a text\x1b[2J in red\u202e")
    result = run("index", "evil")
    assert result.exit_code == 0, result.output
    assert "skipped evil/\\x1b]0;title\\x07\\x1b[2J\\u202e.bin: binary" in result.stderr
    assert "\x1b" not in result.output
    assert paths(index_path(evil)) == ["\x1b[31mred.txt"]
    result = run("search", "evil", "a text")
    assert result.exit_code == 0, result.output
    assert "evil/\\x1b[31mred.txt:1-1" in result.stdout
    assert "a text\\x1b[2J in red\\u202e" in result.stdout
    assert "\x1b" not in result.output


def test_an_index_has_the_passages_that_relations_read(run: Run, tmp_path: Path) -> None:
    text = ". ".join(f"Sentence {number} of these" for number in range(300))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "long.md").write_text(text)
    assert run("index", "notes").exit_code == 0
    with IndexReader(index_path(tmp_path / "notes")) as reader:
        hits = reader.search(np.ones(EMBEDDER.dimensions, np.float32), 99)
    read = divide(Document(text, "long.md"), PassagesConfig().max_tokens)
    assert sorted((hit.passage.start, hit.passage.end) for hit in hits) == [(one.start, one.end) for one in read]
    assert len(hits) > 4


def test_an_index_is_not_written_where_a_link_in_the_folder_leads(run: Run, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / ".trivet").symlink_to(elsewhere)
    result = run("index", str(folder))
    assert result.exit_code == 1
    assert ".trivet" in result.stderr
    assert "remove it" in result.stderr
    assert list(elsewhere.iterdir()) == []


def test_nor_where_a_link_in_the_place_of_the_index_leads(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("index", "repo").exit_code == 0
    of_another = index_path(folder)
    before = of_another.read_bytes()
    (tmp_path / "evil" / ".trivet").mkdir(parents=True)
    (tmp_path / "evil" / "a.txt").write_text("a text")
    index_path(tmp_path / "evil").symlink_to(of_another)
    result = run("index", "evil")
    assert result.exit_code == 1
    assert "give --out" in result.stderr
    assert of_another.read_bytes() == before
