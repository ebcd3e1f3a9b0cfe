"""`trivet embed|rerank|classify|relate`: input, output and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from starlette.responses import JSONResponse

from tests.cli.conftest import TAKEN, Run, records
from tests.support.dispatcher import DEVICE, EMBEDDER, FakeDispatcher, vector_of
from tests.support.serving import FailsAtFirst, Scripted, closed_port, served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.errors import EngineError, Overloaded
from trivet.messages import ClassifyRequest, EmbedRequest, RerankRequest


def test_embeds_a_folder_and_says_what_it_skipped(run: Run, folder: Path) -> None:
    result = run("embed", "repo")
    lines = records(result)
    assert [line["path"] for line in lines] == TAKEN
    text = (folder / "b.md").read_text()
    expected = next(line for line in lines if line["path"] == "repo/b.md")
    np.testing.assert_array_equal(np.array(expected["embedding"], dtype=np.float32), vector_of(text))
    assert (expected["model"], expected["windows"], expected["truncated"]) == (EMBEDDER.name, 1, False)
    for skipped in (
        "repo/build: ignored by git's rules",
        "repo/noise.log: ignored by git's rules",
        "repo/sub/secret.txt: ignored by git's rules",
        "repo/empty.txt: empty",
        "repo/latin.txt: not UTF-8",
        "repo/picture.png: a picture",
        "repo/link.py: a link",
    ):
        assert f"skipped {skipped}\n" in result.stderr
    assert f"{len(TAKEN)} texts" in result.stderr
    assert DEVICE in result.stderr


def test_the_gitignore_rules_above_a_folder_apply(run: Run, folder: Path) -> None:
    (folder / "sub" / "build").mkdir()
    (folder / "sub" / "build" / "x.py").write_text("generated")
    assert [line["path"] for line in records(run("embed", "repo/sub"))] == [
        path for path in TAKEN if path.startswith("repo/sub/")
    ]


def test_a_name_that_is_not_utf8_is_skipped_and_reported(run: Run, folder: Path) -> None:
    latin = folder / os.fsdecode(b"d\xe9")
    latin.mkdir()
    (latin / "inside.txt").write_text("inside")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("coffee")
    (folder / os.fsdecode(b"l\xefnk.py")).symlink_to("a.py")
    result = run("embed", "repo")
    assert [line["path"] for line in records(result)] == TAKEN
    assert r"skipped repo/caf\xe9.txt: its name is not UTF-8" in result.stderr
    assert r"skipped repo/d\xe9/inside.txt: its name is not UTF-8" in result.stderr
    assert r"skipped repo/l\xefnk.py: a link" in result.stderr


def test_many_skips_are_counted_by_reason(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(25):
        (folder / f"{index:02}.png").write_bytes(b"\0")
    (folder / "text").write_text("text")
    result = run("embed", "many")
    assert len(records(result)) == 1
    assert result.stderr.count("skipped many/") == 10
    assert "skipped 25 in all: a picture (25)" in result.stderr


def test_lines_of_stdin(run: Run, dispatcher: FakeDispatcher) -> None:
    result = run("embed", "-", "--lines", "--input-type", "query", "--dimensions", "3", stdin="one\r\n\ntwo é\n")
    lines = records(result)
    assert [(line["path"], line["line"], len(line["embedding"])) for line in lines] == [("-", 1, 3), ("-", 3, 3)]
    assert dispatcher.requests == [
        EmbedRequest(("one", "two é"), input_type="query", dimensions=3, priority="bulk"),
    ]


def test_whole_stdin_is_one_text(run: Run, dispatcher: FakeDispatcher) -> None:
    assert len(records(run("embed", "-", stdin="one\ntwo\n"))) == 1
    [request] = dispatcher.requests
    assert isinstance(request, EmbedRequest)
    assert request.texts == ("one\ntwo\n",)


def test_out_is_written_completely_or_not_at_all(run: Run, folder: Path, tmp_path: Path) -> None:
    result = run("embed", "repo", "--out", "vectors.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    before = (tmp_path / "vectors.jsonl").read_text()
    assert len(before.splitlines()) == len(TAKEN)
    assert not (tmp_path / "vectors.jsonl.partial").exists()
    with served(create_app(FakeDispatcher(error=EngineError("broken")), ApiSettings())) as broken:
        result = run("embed", "repo", "--out", "vectors.jsonl", server=broken)
    assert result.exit_code == 1
    assert "error: broken" in result.stderr
    assert (tmp_path / "vectors.jsonl").read_text() == before


def test_reranks_over_several_requests(run: Run, tmp_path: Path, dispatcher: FakeDispatcher) -> None:
    lines = ["nothing"] * 150 + ["wait then retry"] + ["nothing"] * 150 + ["wait"]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    found = records(run("rerank", "--query", "wait then retry", "--lines", "--top", "3", "lines.txt"))
    assert [line["line"] for line in found] == [151, 302, 1]
    assert found[0]["score"] > found[1]["score"] > found[2]["score"]
    requests = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    assert sorted(len(request.documents) for request in requests) == [46, 128, 128]
    assert {request.priority for request in requests} == {"bulk"}


def test_files_are_sorted_by_their_best_passage(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Bread\n\nflour and salt\n")
    memory = f"## Memory\n\nhow is free VRAM measured {'here ' * 90}"
    (folder / "b.md").write_text(f"# Long\n\n{'nothing else ' * 200}\n\n{memory}\n")
    (folder / "free.svg").write_text("<svg><text>how is free VRAM measured</text></svg>")
    (folder / "rows.csv").write_text("how is free VRAM measured")
    result = run("rerank", "-q", "how is free VRAM measured", "docs")
    first, second = records(result)
    assert list(first) == ["path", "start_line", "end_line", "score", "text"]
    assert (first["path"], first["start_line"], first["end_line"]) == ("docs/b.md", 5, 7)
    assert first["text"] == memory.rstrip()
    assert second["path"] == "docs/a.md"
    assert "skipped docs/free.svg: a picture" in result.stderr
    assert "skipped docs/rows.csv: data" in result.stderr
    named = records(run("rerank", "-q", "how is free VRAM measured", "docs/rows.csv", "docs/a.md", "--top", "1"))
    assert [line["path"] for line in named] == ["docs/rows.csv"]


def test_classifies(run: Run, dispatcher: FakeDispatcher) -> None:
    result = run(
        "classify", "-", "--lines", "-l", "sports", "-l", "food=they are cooking", "--template", "{}", "--multi-label",
        stdin="sports today\ncooking now\n",
    )  # fmt: skip
    lines = records(result)
    assert [(line["line"], line["label"]) for line in lines] == [(1, "sports"), (2, "food")]
    assert set(lines[0]["scores"]) == {"sports", "food"}
    [request] = dispatcher.requests
    assert isinstance(request, ClassifyRequest)
    assert (request.hypotheses, request.multi_label) == ({"sports": "sports", "food": "they are cooking"}, True)


def test_relates_a_file_to_the_others_of_its_folder(run: Run, folder: Path) -> None:
    result = run("relate", "--source", "repo/a.py", "repo", "--top-k", "2", "-r", "same=def area", "-r", "other=prose")
    lines = records(result)
    assert len(lines) == 2
    assert "repo/a.py" not in {line["path"] for line in lines}
    assert set(lines[0]) == {
        "path",
        "relation",
        "confidence",
        "scores",
        "relevance",
        "windows",
        "truncated",
        "evidence",
    }
    assert set(lines[0]["scores"]) == {"same", "other"}
    assert f"{len(TAKEN) - 3} beyond top k" in result.stderr


def test_the_evidence_of_a_relation_has_lines_and_texts(run: Run, folder: Path) -> None:
    def span(start: int, end: int, line: int) -> dict[str, int]:
        return {"start": start, "end": end, "start_line": line, "end_line": line}

    about = {"relation": "same", "confidence": 0.9, "relevance": 0.5}
    evidence = {"source": span(0, 12, 1), "target": span(2, 6, 1), **about}
    edge = {"source_index": 0, "target_index": 0, "scores": {"same": 0.9}, "windows": 1, "truncated": False, **about}
    omitted = {"below_min_relevance": 0, "beyond_top_k": 0, "below_threshold": 0, "unrelated": 3, "unlinked_code": 0}
    answer = {"edges": [{**edge, "evidence": [evidence]}], "omitted": omitted, "usage": {"total_tokens": 9}}
    server = Scripted(JSONResponse(answer))
    with served(server.app) as url:
        result = run("relate", "-s", "repo/a.py", "repo/b.md", "--include-unrelated", server=url)
    [line] = records(result)
    [shown] = line["evidence"]
    assert shown["source"] == {"start_line": 1, "end_line": 1, "text": "def area(r):"}
    assert shown["target"] == {"start_line": 1, "end_line": 1, "text": "Café"}
    assert "3 unrelated" in result.stderr
    assert run("relate", "-s", "repo", "repo/b.md").exit_code == 1


def test_the_source_is_not_a_candidate_even_if_it_is_named(run: Run, folder: Path) -> None:
    result = run("relate", "-s", "repo/a.py", "repo/a.py", "repo/sub/../a.py", "repo/link.py", "repo/b.md")
    assert [line["path"] for line in records(result)] == ["repo/b.md"]
    assert "skipped repo/link.py: it is the source" in result.stderr


@pytest.mark.parametrize("command", [["embed"], ["rerank", "-q", "q"], ["classify", "-l", "a", "-l", "b"]])
def test_a_command_does_not_read_its_own_output(run: Run, folder: Path, command: list[str]) -> None:
    for _ in range(2):
        result = run(*command, "repo", "--out", "repo/out.jsonl")
        assert result.exit_code == 0, result.output
        paths = {json.loads(line)["path"] for line in (folder / "out.jsonl").read_text().splitlines()}
        assert "repo/a.py" in paths
        assert "repo/out.jsonl" not in paths
    assert "skipped repo/out.jsonl: it is written to" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "missing.txt"], "missing.txt"),
        (["embed"], "FILES"),
        (["embed", "-", "--url", "localhost:8000"], "is not a URL"),
        (["classify", "-", "-l", "a", "-l", "a"], "given twice"),
        (["classify", "-", "-l", "a", "--template", "nothing"], "--template"),
        (["relate", "-s", "x.txt", "-", "-r", "only a name"], "NAME=HYPOTHESIS"),
        (["rerank", "-q", "q", "--top", "0", "-"], "--top"),
        (["rerank", "-q", "q", "-", "--out", "missing/x.jsonl"], "missing/x.jsonl"),
        (["index", "-", "--out", "."], "is not a file"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    run: Run, tmp_path: Path, dispatcher: FakeDispatcher, arguments: list[str], message: str
) -> None:
    (tmp_path / "x.txt").write_text("x")
    result = run(*arguments, stdin="text")
    assert result.exit_code == 2
    assert message in result.stderr
    assert dispatcher.requests == []


def test_nothing_to_do_ends_with_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\0")
    result = run("embed", "p.png")
    assert result.exit_code == 1
    assert "skipped p.png: a picture" in result.stderr
    assert "nothing to embed" in result.stderr


def test_a_refusal_ends_with_1_and_names_the_field(run: Run) -> None:
    result = run("embed", "-", "--long-input", "error", stdin="word " * 1000)
    assert result.exit_code == 1
    assert "error: input[0] has" in result.stderr


def test_no_server_ends_with_1_and_says_what_to_do(run: Run) -> None:
    with closed_port() as nowhere:
        result = run("embed", "-", stdin="text", server=nowhere)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: nothing answers at {nowhere}")
    assert "start the service with `trivet serve`" in result.stderr
    assert "retrying" not in result.stderr


@pytest.mark.slow
def test_a_busy_server_is_reported_and_retried(run: Run) -> None:
    with served(create_app(FailsAtFirst([Overloaded("full", retry_after_s=0.1)]), ApiSettings())) as busy:
        result = run("embed", "-", stdin="text", server=busy)
    assert len(records(result)) == 1
    assert "full; retrying in 1.0 s" in result.stderr


def test_numbers_have_no_more_digits_than_float32(run: Run) -> None:
    line = run("embed", "-", stdin="text").stdout
    assert max(len(number) for number in json.loads(line, parse_float=str)["embedding"]) <= 14


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_is_not_an_error(url: str, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a line\n" * 5000)
    script = f"{sys.executable} -m trivet embed --lines lines.txt | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "TRIVET_URL": url}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["line"] == 1


def test_the_version_is_that_of_the_package(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"trivet {version('trivet')}\n"


@pytest.mark.parametrize("name", ["a b", "a\nb", "a#b", "", "\x1b[31m"])
def test_a_key_s_name_must_fit_a_line_of_the_file(run: Run, name: str) -> None:
    assert run("key", name).exit_code == 2
    assert run("key", "ann").exit_code == 0


def test_a_file_that_cannot_be_written_is_one_line(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    (tmp_path / "out.partial").symlink_to("/dev/full")
    result = run("rerank", "repo/a.py", "-q", "area", "--out", "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [("doctor",), ("stop",), ("verify",), ("init", "--force"), ("status", "--url")])
def test_an_error_is_one_line_on_stderr_however_narrow_the_terminal(
    command: tuple[str, ...], tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / ("a long name " * 9)
    folder.mkdir()
    with closed_port() as nowhere:
        of_command = f"{nowhere}/{'long' * 20}" if "--url" in command else str(folder)
        result = run(*command, of_command, *(["--timeout", "1"] if "--url" in command else []), columns=40)
    assert result.exit_code == 1
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if "retrying in" not in line]
    assert line.startswith("error: ")
    assert of_command in line
