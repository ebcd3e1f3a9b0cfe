"""The MCP tools through the protocol's own client, over stdio and HTTP, with the real application behind them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from tests.support.dispatcher import DIMENSIONS, EMBEDDER, FakeDispatcher, vector_of
from tests.support.serving import closed_port, served
from tests.support.shared_app import dispatcher_fixture as dispatcher_fixture
from tests.support.shared_app import shared_server_fixture as shared_server_fixture
from tests.support.shared_app import url_fixture as url_fixture
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.errors import Unavailable
from trivet.messages import ClassifyRequest, EmbedRequest, PairText

if TYPE_CHECKING:  # `make test-fast` collects this file, and the protocol's types take seconds to build
    from mcp import Client
    from mcp_types import CallToolResult

pytestmark = [
    pytest.mark.slow,  # most of these start an interpreter
    pytest.mark.skipif(find_spec("mcp") is None, reason="the extra `mcp` is not installed"),
]

Connect = Callable[..., AbstractAsyncContextManager["Client"]]


@asynccontextmanager
async def over_stdio(url: str, *arguments: str) -> AsyncIterator["Client"]:
    from mcp import Client, StdioServerParameters

    environment = {"TRIVET_URL": url}
    server = StdioServerParameters(command=sys.executable, args=["-m", "trivet", "mcp", *arguments], env=environment)
    async with Client(server) as client:
        yield client


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator["Client"]:
    from mcp import Client

    with mcp_port(url) as address:
        async with Client(f"{address}/mcp") as client:
            yield client


@contextlib.contextmanager
def mcp_port(url: str) -> Iterator[str]:
    """`trivet mcp --transport http` on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "trivet", "mcp", "--transport", "http", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "TRIVET_URL": url})
    try:
        deadline_s = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.ConnectError):
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            assert process.poll() is None, "trivet mcp ended"
            assert time.monotonic() < deadline_s, "trivet mcp does not listen"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def content_of(result: "CallToolResult") -> Any:
    """Return the structured answer, after checking that the text repeats it."""
    [text] = result.content
    assert text.type == "text"
    assert not result.is_error, text.text
    assert json.loads(text.text) == result.structured_content
    return result.structured_content


def error_of(result: "CallToolResult") -> str:
    [text] = result.content
    assert text.type == "text"
    assert result.is_error
    return text.text


@pytest.mark.parametrize("connect", [over_stdio, over_http])
async def test_every_tool_answers(connect: Connect, url: str, dispatcher: FakeDispatcher) -> None:
    async with connect(url) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"embed", "rerank", "classify", "relate"}

        answer = content_of(await client.call_tool("embed", {"input": ["naïve 🦜", "b"], "input_type": "query"}))
        assert answer["model"] == EMBEDDER.name
        np.testing.assert_array_equal(np.array(answer["data"][0]["embedding"], np.float32), vector_of("naïve 🦜"))

        content_of(await client.call_tool("embed", {"input": ["a"], "instruction": "find bugs"}))
        request = dispatcher.requests[-1]
        assert isinstance(request, EmbedRequest)
        assert request.instruction == "find bugs"

        answer = content_of(
            await client.call_tool("rerank", {"query": "wait then", "documents": ["x", "wait then retry"], "top_n": 1})
        )
        assert [item["index"] for item in answer["results"]] == [1]

        answer = content_of(
            await client.call_tool(
                "classify",
                {
                    "input": ["sports day", {"text": "we", "text_pair": "cook food"}],
                    "labels": {"sports": "sports", "food": "food"},
                    "multi_label": True,
                },
            )
        )
        assert [item["label"] for item in answer["data"]] == ["sports", "food"]
        request = dispatcher.requests[-1]
        assert isinstance(request, ClassifyRequest)
        assert request.inputs == (PairText("sports day"), PairText("we", "cook food"))

        answer = content_of(
            await client.call_tool("relate", {"source": "a b", "candidates": ["x", "a b", "a"], "top_k": 2})
        )
        assert [edge["target_index"] for edge in answer["edges"]] == [1, 2]
        assert answer["omitted"]["beyond_top_k"] == 1

        files = {
            "source": "from circle import ratio\n\nprint(ratio)\n",
            "candidates": ["ratio = 3.14\n", "Bake bread."],
        }
        paths = {"source_path": "pkg/area.py", "candidate_paths": ["pkg/circle.py", None]}
        answer = content_of(await client.call_tool("relate", {**files, **paths, "top_k": 1}))
        [edge] = answer["edges"]
        assert (edge["target_index"], edge["relation"], edge["confidence"]) == (0, "dependency", 0.99)
        error = error_of(await client.call_tool("relate", {**files, "candidate_paths": ["pkg/circle.py"]}))
        assert "argument candidate_paths" in error
        whole = {**files, "source_path": "pkg/area.py", "long_input": "truncate"}
        assert "argument source_path" in error_of(await client.call_tool("relate", whole))

        answer = content_of(await client.call_tool("relate", {"pairs": [{"source": "a", "target": "b"}]}))
        assert answer["edges"][0]["relevance"] is None


async def test_tools_and_arguments_have_descriptions(url: str) -> None:
    async with over_stdio(url) as client:
        tools = (await client.list_tools()).tools
        assert {"search", "related", "graph"}.isdisjoint(tool.name for tool in tools)  # there is no --root
        for tool in tools:
            assert tool.description
            assert tool.output_schema is not None
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            for name, argument in tool.input_schema["properties"].items():
                assert argument.get("description"), f"{tool.name}.{name} has no description"
            assert "long_input" in tool.input_schema["properties"]


async def test_errors_name_the_argument(url: str, dispatcher: FakeDispatcher) -> None:
    async with over_stdio(url) as client:
        error = error_of(await client.call_tool("embed", {"input": ["a", "word " * 1000], "long_input": "error"}))
        assert "input[1]" in error
        assert "context_length_exceeded" in error
        error = error_of(await client.call_tool("relate", {"source": "a"}))
        assert "argument candidates" in error
        count = len(dispatcher.requests)
        error = error_of(await client.call_tool("rerank", {"query": "q", "documents": ["a", ""]}))
        assert error == "documents[1]: must not be empty"
        error = error_of(await client.call_tool("rerank", {"query": "q"}))
        assert error == "documents: is required"
        error = error_of(await client.call_tool("rerank", {"query": "q", "documents": ["a"], "k": 1}))
        assert error == "k: is not an argument of rerank, which takes query, documents, top_n, long_input"
        assert len(dispatcher.requests) == count  # the tool's schema rejected all
        answer = content_of(await client.call_tool("embed", {"input": ["still here"]}))
        assert len(answer["data"][0]["embedding"]) == DIMENSIONS


async def test_a_server_that_is_busy_or_gone_is_a_tool_error() -> None:
    app = create_app(FakeDispatcher(error=Unavailable("no lane can answer", retry_after_s=60)), ApiSettings())
    with served(app) as url:
        async with over_stdio(url, "--timeout", "20") as client:
            error = error_of(await client.call_tool("embed", {"input": ["a"]}))
            assert "no lane can answer" in error
            assert "status 503" in error
    with closed_port() as nowhere:
        async with over_stdio(nowhere, "--timeout", "2") as client:
            assert nowhere in error_of(await client.call_tool("embed", {"input": ["a"]}))


def test_only_the_protocol_writes_to_stdout(url: str) -> None:
    """Without a client the process exits when stdin closes, and has written nothing."""
    command = [sys.executable, "-m", "trivet", "mcp", "--url", url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    assert done.stdout == b""


def test_the_http_port_refuses_other_hosts_names(url: str) -> None:
    """A web page whose host name resolves to this machine gets no access."""
    with mcp_port(url) as address:
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        accept = {"accept": "application/json, text/event-stream"}
        answer = httpx.post(f"{address}/mcp", json=request, headers={**accept, "host": "evil.example"})
    assert answer.status_code in (403, 421)
