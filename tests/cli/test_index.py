"""`trivet index`: embeds new chunks, keeps existing vectors, and never damages a file that is not an index."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import TAKEN, Run
from tests.support.dispatcher import EMBEDDER, FakeDispatcher, inputs_of
from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.cli.index_file import IndexFile
from trivet.cli.output import json_line
from trivet.dispatch.protocol import Routed
from trivet.errors import EngineError
from trivet.messages import EmbedRequest, ModelCard, Request, ResultT


def index(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def embedded(dispatcher: FakeDispatcher) -> int:
    """Texts embedded so far."""
    return sum(len(request.texts) for request in dispatcher.requests if isinstance(request, EmbedRequest))


def test_records_say_where_each_chunk_is(run: Run, folder: Path, tmp_path: Path, dispatcher: FakeDispatcher) -> None:
    (folder / "long.py").write_text("".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(100)))
    result = run("index", "repo", "--out", "index.jsonl", "--chunk-characters", "200", "--text")
    assert result.exit_code == 0, result.output
    records = index(tmp_path / "index.jsonl")
    assert sorted({record["path"] for record in records}) == sorted([*TAKEN, "repo/long.py"])
    for record in records:
        lines = (tmp_path / record["path"]).read_text().splitlines(keepends=True)
        assert "".join(lines[record["start_line"] - 1 : record["end_line"]]) == record["text"]
        assert (record["model"], record["revision"]) == (EMBEDDER.name, EMBEDDER.revision)
        assert len(record["embedding"]) == EMBEDDER.dimensions
    requests = [request for request in dispatcher.requests if isinstance(request, EmbedRequest)]
    assert {(request.input_type, request.priority) for request in requests} == {("document", "bulk")}


def test_a_second_run_embeds_only_what_is_new(
    run: Run, folder: Path, tmp_path: Path, dispatcher: FakeDispatcher
) -> None:
    assert run("index", "repo", "--out", "repo/index.jsonl").exit_code == 0
    first = (folder / "index.jsonl").read_text()
    count = embedded(dispatcher)
    assert count == len(TAKEN)

    result = run("index", "repo", "--out", "repo/index.jsonl")
    assert f"{len(TAKEN)} chunks, 0 of them to embed" in result.stderr
    assert embedded(dispatcher) == count
    assert (folder / "index.jsonl").read_text() == first  # the index is not indexed, although it is in the folder

    (folder / "sub" / "z.py").rename(folder / "moved.py")
    (folder / "a.py").write_text("changed = True\n")
    assert run("index", "repo", "--out", "repo/index.jsonl").exit_code == 0
    assert embedded(dispatcher) == count + 1  # a file that moved keeps its vector
    paths = [record["path"] for record in index(folder / "index.jsonl")]
    assert paths == sorted({*TAKEN, "repo/moved.py"} - {"repo/sub/z.py"})


def test_the_index_is_not_indexed_even_if_it_is_named(run: Run, folder: Path) -> None:
    assert run("index", "repo/a.py", "--out", "repo/i.jsonl").exit_code == 0
    (folder / "i.jsonl.partial").write_text("what a failed run left")
    named = ["repo/a.py", "repo/i.jsonl", "repo/i.jsonl.partial"]  # as a shell expands repo/*
    assert run("index", *named, "--out", "repo/i.jsonl").exit_code == 0
    assert [record["path"] for record in index(folder / "i.jsonl")] == ["repo/a.py"]


def test_a_name_that_is_not_utf8_is_skipped(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("coffee")
    result = run("index", "repo", "--out", "i.jsonl")
    assert result.exit_code == 0, result.output
    assert r"skipped repo/caf\xe9.txt: its name is not UTF-8" in result.stderr
    assert sorted(record["path"] for record in index(tmp_path / "i.jsonl")) == sorted(TAKEN)


def test_the_same_text_in_two_places_is_embedded_once(run: Run, tmp_path: Path, dispatcher: FakeDispatcher) -> None:
    (tmp_path / "one.txt").write_text("same")
    (tmp_path / "two.txt").write_text("same")
    assert run("index", "one.txt", "two.txt", "--out", "i.jsonl").exit_code == 0
    assert embedded(dispatcher) == 1
    one, two = index(tmp_path / "i.jsonl")
    assert (one["path"], two["path"]) == ("one.txt", "two.txt")
    assert one["embedding"] == two["embedding"]


class Upgraded(FakeDispatcher):
    """Serves another revision of the embedder."""

    async def models(self) -> list[ModelCard]:
        cards = list(await super().models())
        cards[0] = ModelCard("embedder", EMBEDDER.name, "r9", 256, dimensions=EMBEDDER.dimensions, precision="fp32")
        return cards


@pytest.mark.slow
def test_vectors_of_another_model_or_length_are_not_kept(run: Run, tmp_path: Path, dispatcher: FakeDispatcher) -> None:
    (tmp_path / "a.txt").write_text("text")
    assert run("index", "a.txt", "--out", "i.jsonl").exit_code == 0
    assert run("index", "a.txt", "--out", "i.jsonl", "--dimensions", "4").exit_code == 0
    assert embedded(dispatcher) == 2
    assert [len(record["embedding"]) for record in index(tmp_path / "i.jsonl")] == [4]
    upgraded = Upgraded()
    with served(create_app(upgraded, ApiSettings())) as url:
        assert run("index", "a.txt", "--out", "i.jsonl", "--dimensions", "4", server=url).exit_code == 0
    assert embedded(upgraded) == 1
    assert [record["revision"] for record in index(tmp_path / "i.jsonl")] == ["r9"]


class StopsMidway(FakeDispatcher):
    """Fails at the last texts."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if "text 599" in inputs_of(request):
            raise EngineError("broken")
        return await super().call(request)


@pytest.fixture
def many(tmp_path: Path) -> int:
    for number in range(600):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number:03}.txt").write_text(f"text {number}")
    return 600


@pytest.mark.slow
def test_the_vectors_of_a_failed_run_are_kept(run: Run, tmp_path: Path, many: int, dispatcher: FakeDispatcher) -> None:
    broken = StopsMidway()
    with served(create_app(broken, ApiSettings())) as url:
        result = run("index", "many", "--out", "i.jsonl", server=url)
    assert result.exit_code == 1
    assert "error: broken" in result.stderr
    kept = len(index(tmp_path / "i.jsonl"))
    assert kept == 512
    assert run("index", "many", "--out", "i.jsonl").exit_code == 0
    assert embedded(dispatcher) == many - kept
    assert len(index(tmp_path / "i.jsonl")) == many


@pytest.mark.slow
def test_a_line_that_was_cut_off_is_dropped(run: Run, tmp_path: Path, many: int, dispatcher: FakeDispatcher) -> None:
    assert run("index", "many", "--out", "i.jsonl").exit_code == 0
    whole = (tmp_path / "i.jsonl").read_bytes()
    for cut, missing in ((7, 1), (len(whole) - 30, many)):
        (tmp_path / "i.jsonl").write_bytes(whole[:-cut])
        before = embedded(dispatcher)
        assert run("index", "many", "--out", "i.jsonl").exit_code == 0
        assert embedded(dispatcher) - before == missing
        assert (tmp_path / "i.jsonl").read_bytes() == whole


def test_a_run_that_is_killed_twice_leaves_a_usable_index(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    first, second = ({"path": "a", "sha256": name, "embedding": [0.5]} for name in ("first", "second"))
    path.write_bytes(json_line(first) + b'{"path": "cut off')
    with IndexFile(path) as file:
        assert file.load(lambda record: True) == 1
        file.append(second)
    with IndexFile(path) as file:
        assert file.load(lambda record: True) == 2
        assert "second" in file


@pytest.mark.parametrize("content", ["my notes", "my notes\n", '{"a": 1}\n', '[1]\n{"path": 1}\n'])
def test_a_file_that_is_not_an_index_is_not_changed(run: Run, folder: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "notes.txt").write_text(content)
    result = run("index", "repo", "--out", "notes.txt")
    assert result.exit_code == 1
    assert "notes.txt is not an index" in result.stderr
    assert (tmp_path / "notes.txt").read_text() == content


class Slow(FakeDispatcher):
    """Answers every request except the first after 20 s."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if self.requests:
            await asyncio.sleep(20)
        return await super().call(request)


@pytest.mark.slow
def test_ctrl_c_stops_immediately_and_keeps_the_vectors(tmp_path: Path, many: int) -> None:
    with served(create_app(Slow(), ApiSettings())) as url:
        command = [sys.executable, "-m", "trivet", "index", str(tmp_path / "many"), "--out", str(tmp_path / "i.jsonl")]
        process = subprocess.Popen(
            command,
            env={**os.environ, "TRIVET_URL": url},
            stderr=subprocess.PIPE,
            text=True,
            # If a shell has started the tests in the background, they ignore Ctrl-C, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline_s = time.monotonic() + 60
        while not ((tmp_path / "i.jsonl").exists() and (tmp_path / "i.jsonl").stat().st_size):
            assert time.monotonic() < deadline_s, "nothing was written"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        _, stderr = process.communicate(timeout=15)
        assert time.monotonic() - started_s < 15
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert len(index(tmp_path / "i.jsonl")) == 128


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
        result = run("index", "deep", "--out", "index.jsonl")
    finally:  # pytest removes folders recursively, which ends in an error here
        subprocess.run(["rm", "-rf", deepest], check=True)
    assert result.exit_code == 0, result.output
    assert "2 chunks" in result.stderr


def test_two_runs_on_one_output_do_not_disturb_each_other(run: Run, folder: Path, tmp_path: Path) -> None:
    with IndexFile(tmp_path / "index.jsonl"):
        second = run("index", str(folder), "--out", "index.jsonl")
        assert second.exit_code == 1
        assert "another run writes index.jsonl" in second.stderr
        assert (tmp_path / "index.jsonl").read_bytes() == b""
    assert run("index", str(folder), "--out", "index.jsonl").exit_code == 0


def test_names_cannot_send_codes_to_the_terminal(run: Run, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "\x1b]0;title\x07\x1b[2J\u202e.bin").write_bytes(b"\0")
    (evil / "\x1b[31mred.txt").write_text("a text")
    result = run("index", "evil", "--out", "index.jsonl")
    assert result.exit_code == 0, result.output
    assert "skipped evil/\\x1b]0;title\\x07\\x1b[2J\\u202e.bin: binary" in result.stderr
    assert "\x1b" not in result.output
    assert [record["path"] for record in index(tmp_path / "index.jsonl")] == ["evil/\x1b[31mred.txt"]
