"""Only a line feed ends a line, for those who write the lines and for those who read them."""

import json
from contextlib import aclosing, closing

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.support.serving import served
from trivet.cli.output import json_line
from trivet.client import AsyncClient, Client, GraphDocument, GraphEdge
from trivet.json_lines import LineSplitter, one_line

SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj"
"""Whatever `str.splitlines` splits at."""


def stream() -> bytes:
    """Two lines of `/v1/graph` as a server may write them that escapes no more than JSON needs."""
    span = {"start": 0, "end": 9, "start_line": 1, "end_line": 1, "text": SEPARATORS}
    evidence = {"source": span, "target": span, "relation": "expansion", "confidence": 0.9, "relevance": None}
    edge = {"event": "edge", "source": "a", "target": "b", "relation": "expansion", "directed": True}
    edge |= {"confidence": 0.9, "relevance": None, "evidence": [evidence]}
    return orjson.dumps(edge) + b"\n\n" + orjson.dumps({"event": "summary"})


async def answer(request: Request) -> Response:
    return StreamingResponse(iter([stream()[:50], stream()[50:]]), media_type="application/x-ndjson")


async def test_clients_read_lines_whose_texts_hold_other_separators() -> None:
    documents = [GraphDocument("a", "one"), GraphDocument("b", "two")]
    with served(Starlette(routes=[Route("/v1/graph", answer, methods=["POST"])])) as url:
        with Client(url) as client, closing(client.graph(documents)) as events:
            found = list(events)
        async with AsyncClient(url) as async_client, aclosing(async_client.graph(documents)) as async_events:
            found_too = [event async for event in async_events]
    for edge, _ in (found, found_too):
        assert isinstance(edge, GraphEdge)
        assert edge.evidence[0].source.text == SEPARATORS


def test_a_written_line_is_one_line_to_every_reader() -> None:
    written = json_line({SEPARATORS: SEPARATORS})
    assert len(written.decode().splitlines()) == 1
    assert json.loads(written) == {SEPARATORS: SEPARATORS}
    assert one_line(b'"\xe2\x80\xa7\xc2\x84"') == b'"\xe2\x80\xa7\xc2\x84"'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_splitter_finds_the_same_lines_in_chunks_of_any_size(size: int) -> None:
    text = "é\u2028\n\n \r\n日本\rx\nlast"
    content = text.encode()
    splitter = LineSplitter()
    found = [line for at in range(0, len(content), size) for line in splitter.lines(content[at : at + size])]
    assert [*found, *splitter.rest()] == ["é\u2028", "日本\rx", "last"]
