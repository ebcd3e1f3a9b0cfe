"""Relations of a folder are collected from a stream, and a broken stream is continued."""

import json
import os
from pathlib import Path

import pytest

from tests.folders.streams import OVERLOADED, SUMMARY, GraphServer, Line, done, edge, refusal
from trivet.client import Busy, MalformedAnswer, Refused, ServerFailed, Unreachable
from trivet.client.graph import GraphDocument, GraphEdge, event_of
from trivet.folders.documents import Document
from trivet.folders.graph import Graph, GraphSettings, PartialFile, collect_graph

DOCUMENTS = [Document(path, f"text of {path}", digest) for path, digest in (("a", "1"), ("b", "2"), ("c", "3"))]
SETTINGS = GraphSettings(neighbours=4)


async def collect(
    server: GraphServer, path: Path, documents: list[Document] = DOCUMENTS, settings: GraphSettings = SETTINGS
) -> Graph:
    partial = PartialFile(path, documents, settings)
    async with server.client() as client:
        return await collect_graph(client, documents, settings, partial)


def ends(graph: Graph) -> list[tuple[str, str]]:
    return [(one.source, one.target) for one in graph.edges]


async def test_edges_are_collected_with_their_evidence(tmp_path: Path) -> None:
    refused = {"event": "refused_document", "id": "c", "index": 2, "error": {"message": "too long", "code": "x"}}
    progress = {"event": "progress", "stage": "embed", "done": 1, "total": 3}
    lines = [progress, {"event": "news"}, refused, edge("a", "b"), done("a"), done("b"), SUMMARY]
    server = GraphServer(lines)
    shown: list[tuple[str, int, int]] = []
    partial = PartialFile(tmp_path / "p", DOCUMENTS, SETTINGS)
    async with server.client() as client:
        graph = await collect_graph(
            client, DOCUMENTS, SETTINGS, partial, on_progress=lambda *about: shown.append(about)
        )
    assert (ends(graph), graph.documents, shown) == ([("a", "b")], ["a", "b", "c"], [("embed", 1, 3)])
    assert graph.edges[0].evidence[0].target.text == "text of b"
    assert [(one.id, one.error) for one in graph.refused] == [("c", "too long")]
    assert graph.summary == {"documents": 3, "edges": 1, "tokens": 10}
    [body] = server.bodies
    assert body["documents"][0] == {"id": "a", "text": "text of a", "path": "a"}
    assert body["neighbours"] == 4
    assert "done" not in body


@pytest.mark.parametrize("ending", [[], [OVERLOADED]])
async def test_a_broken_stream_is_continued_without_what_is_done(tmp_path: Path, ending: list[Line]) -> None:
    server = GraphServer(
        [edge("a", "b"), done("a"), edge("b", "c", confidence=0.4), *ending],
        [edge("b", "c", confidence=0.7), done("b"), done("c"), SUMMARY],
    )
    graph = await collect(server, tmp_path / "p")
    assert [body.get("done") for body in server.bodies] == [None, ["a"]]
    assert [(one.source, one.confidence) for one in graph.edges] == [("a", 0.9), ("b", 0.7)]


async def test_a_stream_that_gets_no_further_fails_and_a_later_run_continues_it(tmp_path: Path) -> None:
    server = GraphServer([edge("a", "b"), done("a")], [OVERLOADED], [edge("b", "c"), done("b"), done("c"), SUMMARY])
    with pytest.raises(Busy, match="full"):
        await collect(server, tmp_path / "p")
    with (tmp_path / "p").open("ab") as file:
        file.write(b'{"event": "edge", "sour')  # what a killed process was writing
    graph = await collect(server, tmp_path / "p")
    assert server.bodies[-1]["done"] == ["a"]
    assert ends(graph) == [("a", "b"), ("b", "c")]


@pytest.mark.parametrize("change", ["document", "settings", "damage"])
async def test_what_was_found_for_other_texts_or_settings_is_not_kept(tmp_path: Path, change: str) -> None:
    server = GraphServer([edge("a", "b"), done("a")], [OVERLOADED], [done("a"), done("b"), done("c"), SUMMARY])
    with pytest.raises(Busy):
        await collect(server, tmp_path / "p")
    documents, settings = DOCUMENTS, SETTINGS
    match change:
        case "document":
            documents = [*DOCUMENTS[:2], Document("c", "changed", "4")]
        case "settings":
            settings = GraphSettings(neighbours=5)
        case _:
            (tmp_path / "p").write_bytes(b"{}\n" + (tmp_path / "p").read_bytes())
    graph = await collect(server, tmp_path / "p", documents, settings)
    assert "done" not in server.bodies[-1]
    assert graph.edges == []


async def test_an_edge_without_a_direction_is_kept_once(tmp_path: Path) -> None:
    both = [edge("a", "b", "similar", 0.5, directed=False)]
    both += [edge("b", "a", "similar", 0.6, directed=False), edge("b", "a", "dependency", 0.3)]
    graph = await collect(GraphServer([*both, done("a"), done("b"), done("c"), SUMMARY]), tmp_path / "p")
    assert [(one.relation, one.confidence) for one in graph.edges] == [("similar", 0.6), ("dependency", 0.3)]


async def test_a_refusal_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too many"):
        await collect(GraphServer(refusal(400, "too many")), tmp_path / "p")


async def test_the_client_notices_a_stream_without_its_end() -> None:
    server = GraphServer([edge("a", "b")])
    async with server.client() as client:
        events = client.graph([GraphDocument("a", "x"), GraphDocument("b", "y")])
        assert isinstance(await anext(events), GraphEdge)
        with pytest.raises(Unreachable, match="before its summary"):
            await anext(events)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("nonsense", MalformedAnswer, "is not JSON"),
        ('{"object": "edge"}', MalformedAnswer, "has no event"),
        ('{"event": "edge", "source": "a"}', MalformedAnswer, "target"),
        ('{"event": "error", "error": "boom"}', ServerFailed, "boom"),
        ('{"event": "error", "error": {"message": "no", "type": "invalid_request_error"}}', Refused, "no"),
    ],
)
def test_a_line_that_is_no_event_is_an_error(line: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        event_of(line)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "line",
    [
        {"event": "document_done"},
        {"event": "document_done", "id": ["a"]},
        {"event": "edge", "source": ["a"]},
        {"event": "edge", "source": "a"},
        {"event": "refused_document", "id": {}},
    ],
)
async def test_a_strange_file_to_continue_is_no_failure(tmp_path: Path, line: Line) -> None:
    file = tmp_path / "p"
    partial = PartialFile(file, DOCUMENTS, SETTINGS)
    partial.start(Graph([]), [])
    partial.close()
    with file.open("ab") as opened:
        opened.write(b"[" * 100_000 + b"\n" + json.dumps(line).encode() + b"\n")
    graph, done = partial.load()
    assert done == set()
    assert graph is None or graph.edges == []


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_a_file_to_continue_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    with pytest.raises(OSError, match="not a regular file"):
        PartialFile(tmp_path / "p", DOCUMENTS, SETTINGS).load()
