"""The tools over a folder: what they find, what they may read, and how little they write."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.folders.streams import SUMMARY, GraphServer, done, edge
from tests.support.dispatcher import FakeDispatcher
from tests.support.serving import served
from tests.support.shared_app import Behind
from tests.support.shared_app import shared_server_fixture as shared_server_fixture
from trivet.client import AsyncClient, ClientError
from trivet.errors import InvalidInput
from trivet.folders.indexing import index_path
from trivet.index import IndexReader, IndexWriter
from trivet.mcp.folder import REFRESH_AFTER_S, SNIPPET_LINES, Folder, FolderError
from trivet.messages import EmbedRequest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder beside a secret, to which a link and a path lead."""
    (tmp_path / "secret.txt").write_text("the secret password")
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "retry.py").write_text("def retry():\n    wait then send again\n")
    (root / "src" / "send.py").write_text("def send():\n    send once\n")
    (root / "notes.md").write_text("# Bread\n\nflour and salt\n")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "outside").symlink_to(tmp_path)
    return root


@pytest.fixture
async def folder(root: Path, shared_server: tuple[str, Behind]) -> AsyncIterator[Folder]:
    url, behind = shared_server
    behind.dispatcher = FakeDispatcher()
    async with AsyncClient(url) as client:
        folder = Folder(client, root)
        yield folder
        await folder.close()


async def test_a_search_indexes_the_folder_and_answers_with_places(folder: Folder, root: Path) -> None:
    answer = await folder.search("wait then send again", None, 2)
    first, *_ = answer.split("\n\n")
    head, *snippet = first.split("\n")
    assert head.startswith("src/retry.py:1-2 0.")
    assert snippet == ["def retry():", "    wait then send again"]
    assert "secret" not in answer
    with IndexReader(index_path(root)) as reader:
        assert sorted(reader.files()) == ["notes.md", "src/retry.py", "src/send.py"]
    assert (await folder.search("send", "*.md", 5)).startswith("notes.md:1-3")
    assert await folder.search("send", "nothing/", 5) == "no file matches 'nothing/'"
    with pytest.raises(FolderError, match="no path can match"):
        await folder.search("send", "[", 5)


async def test_the_embedder_is_told_what_a_search_is_for(folder: Folder, shared_server: tuple[str, Behind]) -> None:
    await folder.search("wait", None, 2, "find bugs")
    asked = [one for one in shared_server[1].dispatcher.requests if isinstance(one, EmbedRequest)]
    assert [one.instruction for one in asked] == [None, "find bugs"]  # documents have none


async def test_a_changed_file_is_found_by_the_next_search(folder: Folder, root: Path) -> None:
    await folder.search("send", None, 1)
    (root / "new.txt").write_text("zebra crossing")
    folder._updated_s = -REFRESH_AFTER_S * 1e6  # as if it were long ago
    assert (await folder.search("zebra crossing", None, 1)).startswith("new.txt:1-1")


async def test_related_files_come_with_both_places(folder: Folder) -> None:
    answer = await folder.related("./src/retry.py", 1)
    assert answer.startswith("src/send.py:1-2 0.")
    assert "like lines 1-2" in answer
    for path in ("../secret.txt", "link.txt", "outside/secret.txt", "/etc/passwd", "src", "src/retry.py/"):
        with pytest.raises(FolderError, match="is not in the index"):
            await folder.related(path, 1)


async def test_paths_may_be_absolute_within_the_folder(folder: Folder, root: Path) -> None:
    assert (await folder.related(f"{root}/src/retry.py", 1)).startswith("src/send.py:1-2 0.")
    assert (await folder.search("send", f"{root}/notes.md", 5)).startswith("notes.md:1-3")
    assert "src/send.py" in await folder.search("send", str(root), 5)
    for path in (f"{root}/../secret.txt", f"{root}-other/notes.md"):
        with pytest.raises(FolderError, match="is not in the index"):
            await folder.related(path, 1)


async def test_a_question_is_neither_blank_nor_a_whole_file(folder: Folder, shared_server: tuple[str, Behind]) -> None:
    for question, wrong in ((" \n", "the question is blank"), ("retry " * 501, "about 501 tokens; the limit is 500")):
        with pytest.raises(InvalidInput, match=wrong):
            await folder.search(question, None, 1)
    assert not shared_server[1].dispatcher.requests


async def test_a_search_beside_another_writer_says_so(folder: Folder, root: Path) -> None:
    await folder.search("send", None, 1)
    folder._updated_s = None
    with IndexReader(index_path(root)) as reader:
        model = reader.model
    with IndexWriter(index_path(root), model):
        answer = await folder.search("send once", None, 1)
    assert answer.startswith("(another process is updating the index;")
    assert "src/send.py:1-2" in answer


async def test_long_passages_and_hostile_names_stay_small_and_plain(folder: Folder, root: Path) -> None:
    (root / "\x1b[31mlong.txt").write_text("\n".join(f"zebra {number}\x1b[2J" for number in range(90)))
    (root / "wide.txt").write_text("giraffe " * 180)
    answer = await folder.search("zebra", "*long.txt", 1)
    assert "\\x1b[31mlong.txt:" in answer
    assert "\x1b" not in answer
    assert len(answer.splitlines()) == SNIPPET_LINES + 2
    assert answer.endswith("more lines")
    assert len(await folder.search("giraffe", "wide.txt", 1)) < 1000


async def test_a_graph_reads_only_files_of_the_folder(root: Path) -> None:
    lines = [edge("src/retry.py", "src/send.py"), done("src/retry.py"), done("src/send.py"), SUMMARY]
    server = GraphServer(lines)
    async with server.client() as client:
        folder = Folder(client, root)
        answer = await folder.graph(["src/", "../secret.txt", "link.txt", "outside"], lambda *about: None)
        assert answer == "src/retry.py:1-2 -> src/send.py:1-2 dependency 0.90"
        assert [one["id"] for one in server.bodies[0]["documents"]] == ["src/retry.py", "src/send.py"]
        for paths in (["notes.md"], ["../secret.txt", "outside/secret.txt", str(root.parent)]):
            with pytest.raises(FolderError, match="files of prose or code match"):
                await folder.graph(paths, lambda *about: None)


async def test_without_a_server_an_index_is_not_needed_to_say_so(root: Path) -> None:
    server = GraphServer()
    async with server.client() as client:
        folder = Folder(client, root)
        with pytest.raises(ClientError):
            await folder.search("send", None, 1)
        await folder.close()
    assert not index_path(root).exists()


@pytest.mark.slow  # starts an interpreter
async def test_the_tools_answer_over_stdio(root: Path, shared_server: tuple[str, Behind]) -> None:
    mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
    url, behind = shared_server
    behind.dispatcher = FakeDispatcher()
    graph = GraphServer([edge("src/retry.py", "src/send.py"), done("src/retry.py"), done("src/send.py"), SUMMARY])
    with served(graph.app) as graph_url:
        for address, calls in (
            (url, [("search", {"query": "send once", "limit": 1}), ("related", {"path": "src/retry.py", "limit": 1})]),
            (graph_url, [("graph", {"paths": ["src"]})]),
        ):
            environment = {**os.environ, "TRIVET_URL": address}
            arguments = ["-m", "trivet", "mcp", "--root", str(root)]
            parameters = mcp.StdioServerParameters(command=sys.executable, args=arguments, env=environment)
            async with mcp.Client(parameters) as client:
                tools = {tool.name: tool for tool in (await client.list_tools()).tools}
                assert {"search", "related", "graph", "embed", "rerank", "classify", "relate"} == set(tools)
                for name, given in calls:
                    assert tools[name].description
                    assert "context" not in tools[name].input_schema["properties"]
                    for argument in tools[name].input_schema["properties"].values():
                        assert argument.get("description")
                    result = await client.call_tool(name, given)
                    [text] = result.content
                    assert not result.is_error, text.text
                    assert "src/send.py:1-2" in text.text
                    assert result.structured_content is None
                refused = await client.call_tool("related", {"path": "../secret.txt"})
                assert refused.is_error
