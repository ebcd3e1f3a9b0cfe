"""`trivet graph`: writes the relations of a folder, and keeps what an interrupted run has found."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.folders.streams import SUMMARY, GraphServer, Line, done, edge
from tests.support.serving import served

REFUSED: Line = {"event": "refused_document", "id": "b.md", "index": 1, "error": {"message": "too\x1b[2J long"}}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.py", "b.md", "\x1b[31mc.py"):
        (folder / name).write_text(f"text of {name}")
    (folder / "rows.csv").write_text("1,2")
    (folder / "drawing.svg").write_text("<svg/>")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".html", ".json", ".graphml", ".cypher"])
def test_a_graph_is_written(run: Run, notes: Path, suffix: str) -> None:
    server = GraphServer([REFUSED, edge("a.py", "\x1b[31mc.py"), done("a.py"), done("\x1b[31mc.py"), SUMMARY])
    with served(server.app) as url:
        result = run("graph", "notes", "--out", f"notes/out{suffix}", "--neighbours", "4", server=url)
    assert result.exit_code == 0, result.output
    assert f"notes/out{suffix}: 3 files, 1 refused, 1 relations (1 dependency)" in result.stderr
    assert "refused b.md: too\\x1b[2J long" in result.stderr
    assert "skipped notes/rows.csv: data" in result.stderr
    assert "skipped notes/drawing.svg: a picture" in result.stderr
    assert "\x1b" not in result.output
    assert "text of" in (notes / f"out{suffix}").read_text()
    assert sorted(path.suffix for path in notes.iterdir()) == sorted([".csv", ".md", ".py", ".py", ".svg", suffix])
    [body] = server.bodies
    assert sorted(one["id"] for one in body["documents"]) == ["\x1b[31mc.py", "a.py", "b.md"]
    assert body["neighbours"] == 4


def test_an_interrupted_run_is_continued_by_the_same_command(run: Run, notes: Path) -> None:
    error: Line = {"event": "error", "error": {"message": "broken", "type": "server_error"}}
    server = GraphServer([edge("a.py", "b.md"), done("a.py"), error], [edge("b.md", "a.py"), done("b.md"), SUMMARY])
    command = ["graph", "notes", "--out", "notes/out.json", "-r", "uses=1", "-r", "other=2"]
    with served(server.app) as url:
        first = run(*command, server=url)
        assert first.exit_code == 1
        assert "error: broken" in first.stderr
        assert (notes / "out.json.resume").exists()
        assert not (notes / "out.json").exists()
        second = run(*command, server=url)
    assert second.exit_code == 0, second.output
    assert server.bodies[1]["done"] == ["a.py"]
    assert server.bodies[1]["relations"] == {"uses": "1", "other": "2"}
    graph = json.loads((notes / "out.json").read_text())
    assert [one["source"] for one in graph["edges"]] == ["a.py", "b.md"]
    assert not (notes / "out.json.resume").exists()


def test_the_command_and_the_server_agree(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "circle.py").write_text("TAU = 6.28318\n")
    (folder / "area.py").write_text("from circle import TAU\n\ndef area(r):\n    return TAU / 2 * r * r\n")
    result = run(
        "graph", "code", "--out", "out.json", "--include-unrelated", "--threshold", "0", "--min-relevance", "0"
    )
    assert result.exit_code == 0, result.output
    graph = json.loads((tmp_path / "out.json").read_text())
    assert graph["documents"] == ["area.py", "circle.py"]
    assert graph["edges"]
    evidence = graph["edges"][0]["evidence"][0]
    texts = {path.read_text() for path in folder.iterdir()}
    assert {evidence["source"]["text"], evidence["target"]["text"]} == texts
    assert graph["summary"]["documents"] == 2


def test_what_cannot_become_a_graph_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("alone")
    result = run("graph", "one", "--out", "out.pdf")
    assert result.exit_code == 2
    assert "has none of the suffixes .html, .json" in result.stderr.replace("\n", " ")
    result = run("graph", "one", "--out", "out.html")
    assert result.exit_code == 1
    assert "one has 1 files of prose or code; a graph needs at least two" in result.stderr
