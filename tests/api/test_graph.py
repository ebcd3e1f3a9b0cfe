"""`POST /v1/graph` over the fake dispatcher."""

import asyncio
import dataclasses
import json
from typing import Any

import httpx
import pytest
from starlette.types import Message

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from tests.support.memory_sink import MemorySink
from trivet.api.app import create_app
from trivet.api.middleware.telemetry import Telemetry
from trivet.api.settings import ApiSettings
from trivet.dispatch.protocol import Routed
from trivet.errors import Unavailable
from trivet.messages import ClassifyRequest, EmbedRequest, Request, RerankRequest, ResultT
from trivet.metrics import GRAPH_DOCUMENTS, GRAPH_EDGES

RELATIONS = {"uses": "def import area ratio", "tells": "moon sea tides", "none": "nothing whatever"}
SETTINGS = ApiSettings(relations=RELATIONS, no_relation="none", symmetric_relations=("tells",))

AREA = {
    "id": "area.py",
    "path": "area.py",
    "text": "from circle import ratio\n\ndef area(r):\n    return ratio * r * r\n",
}
CIRCLE = {"id": "circle.py", "path": "circle.py", "text": "ratio = 3.14159\n"}
TIDES = {"id": "tides.md", "text": "moon sea tides"}
MOON = {"id": "moon.md", "text": "tides of the sea follow the moon"}


async def ask(client: httpx.AsyncClient, documents: list[Any], **body: Any) -> list[dict[str, Any]]:
    answer = await client.post("/v1/graph", json={"documents": documents, **body})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def of(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


@pytest.fixture
def client(connect: Connect, dispatcher: FakeDispatcher) -> httpx.AsyncClient:
    return connect(dispatcher, SETTINGS)


async def test_edges_have_a_direction_and_evidence(client: httpx.AsyncClient) -> None:
    lines = await ask(client, [CIRCLE, AREA, TIDES, MOON])
    edges = {(edge["source"], edge["target"]): edge for edge in of(lines, "edge")}
    uses = edges["area.py", "circle.py"]
    assert (uses["relation"], uses["directed"]) == ("uses", True)
    assert uses["evidence"][0]["source"]["text"] == AREA["text"]
    assert uses["evidence"][0]["target"]["start_line"] == 1
    tells = edges["tides.md", "moon.md"]
    assert (tells["relation"], tells["directed"]) == ("tells", False)
    assert [line["id"] for line in of(lines, "document_done")] == ["circle.py", "area.py", "tides.md", "moon.md"]
    assert {line["stage"] for line in of(lines, "progress")} == {
        "passages", "embed", "candidates", "rerank", "classify",
    }  # fmt: skip
    summary = lines[-1]
    assert (summary["event"], summary["documents"], summary["edges"]) == ("summary", 4, len(edges))
    assert summary["tokens"] > 0


async def test_one_bad_document_does_not_end_the_run(client: httpx.AsyncClient) -> None:
    bad = [{"id": "blank", "text": " "}, {"id": "picture", "text": "GIF\0"}, {"text": "no id"}, 7, dict(TIDES)]
    lines = await ask(client, [TIDES, *bad, MOON])
    refused = [(line["id"], line["error"]["code"]) for line in of(lines, "refused_document")]
    assert refused == [
        ("blank", "blank_text"), ("picture", "binary_text"), (None, "missing"), (None, "model_type"),
        ("tides.md", "duplicate_id"),
    ]  # fmt: skip
    assert of(lines, "refused_document")[2]["error"]["param"] == "documents[3]"
    assert lines[-1]["refused_documents"] == 5
    assert len(of(lines, "edge")) == 1


async def test_a_run_is_resumed(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    lines = await ask(client, [TIDES, MOON], done=["tides.md"])
    assert of(lines, "edge") == []
    assert [line["id"] for line in of(lines, "document_done")] == ["moon.md"]
    dispatcher.requests.clear()
    await ask(client, [TIDES, MOON], done=["tides.md", "moon.md"])
    assert not any(isinstance(request, RerankRequest | ClassifyRequest) for request in dispatcher.requests)


async def test_calls_are_batched(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    documents = [{"id": str(number), "text": f"moon sea tides {number}"} for number in range(40)]
    lines = await ask(client, documents)
    calls = [type(request) for request in dispatcher.requests]
    assert calls.count(EmbedRequest) == 1
    assert calls.count(RerankRequest) <= len(documents)
    assert calls.count(ClassifyRequest) < lines[-1]["pairs_classified"] / 4


async def test_what_is_left_out_is_counted(client: httpx.AsyncClient) -> None:
    documents = [TIDES, MOON, {"id": "a", "text": "nothing whatever"}, {"id": "b", "text": "whatever nothing"}]
    lines = await ask(client, documents, threshold=1)
    assert of(lines, "edge") == []
    assert lines[-1]["below_threshold"] >= 1
    assert lines[-1]["unrelated_omitted"] >= 1
    everything = await ask(client, documents, include_unrelated=True)
    assert {"none", "tells"} <= {edge["relation"] for edge in of(everything, "edge")}
    few = await ask(client, documents, include_unrelated=True, per_document=1)
    assert few[-1]["edges"] + few[-1]["beyond_per_document"] >= len(of(few, "edge")) > 0


async def test_clearly_unrelated_passages_are_read_by_one_hypothesis(
    connect: Connect, dispatcher: FakeDispatcher
) -> None:
    client = connect(dispatcher, dataclasses.replace(SETTINGS, clear_unrelated=0.5, threshold=0.7))
    documents = [{"id": "a", "text": "nothing whatever"}, {"id": "b", "text": "whatever nothing"}]
    lines = await ask(client, documents)
    calls = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert {tuple(call.hypotheses) for call in calls} == {("none",)}
    assert (lines[-1]["pairs_classified"], lines[-1]["unrelated_omitted"]) == (1, 1)
    for body in ({"include_unrelated": True}, {"relations": RELATIONS, "no_relation": "none"}, {"threshold": 0.69}):
        dispatcher.requests.clear()
        await ask(client, documents, **body)
        calls = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
        assert {len(call.hypotheses) for call in calls} == {len(RELATIONS)}


async def test_limits_are_named(connect: Connect, dispatcher: FakeDispatcher) -> None:
    small = connect(dispatcher, ApiSettings(max_graph_tokens=10))
    answer = await small.post("/v1/graph", json={"documents": [AREA, CIRCLE]})
    assert answer.status_code == 400
    assert "limits.max_graph_tokens" in answer.json()["error"]["message"]
    none = connect(dispatcher, ApiSettings(max_graphs=0))
    answer = await none.post("/v1/graph", json={"documents": [AREA, CIRCLE]})
    assert answer.status_code == 429
    assert answer.headers["retry-after"]
    one = connect(dispatcher, ApiSettings(max_graphs=1))
    for _ in range(2):  # the second time finds the first one's place free
        together = await asyncio.gather(*(one.post("/v1/graph", json={"documents": [AREA, CIRCLE]}) for _ in range(4)))
        assert sorted(each.status_code for each in together) == [200, 429, 429, 429]
    answer = await small.post("/v1/graph", json={"documents": [TIDES], "relations": RELATIONS, "no_relation": "no"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "no_relation"


async def test_an_id_of_half_a_surrogate_does_not_break_the_stream(client: httpx.AsyncClient) -> None:
    documents = [r'{"id": "\ud800", "text": "a"}', r'{"id": "b", "text": "c", "\ud83d": 1}', '{"id": "d", "text": "e"}']
    answer = await client.post("/v1/graph", content=f'{{"documents": [{",".join(documents)}]}}')
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["id"], line["index"]) for line in lines if line["event"] == "refused_document"] == [
        (None, 0),
        ("b", 1),
    ]
    assert lines[-1]["event"] == "summary"


async def test_a_relation_s_name_is_not_repeated_by_the_megabyte(client: httpx.AsyncClient) -> None:
    body = {"documents": [{"id": "a", "text": "a"}], "relations": {"x" * 1_000_000: "a", "y": "b"}}
    refused = await client.post("/v1/graph", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "relations"
    assert len(refused.content) < 1000


async def test_an_error_after_the_first_line_is_a_line(connect: Connect) -> None:
    failing = FakeDispatcher(error=Unavailable("the classifier left"), answered_before_error=2)
    lines = await ask(connect(failing, SETTINGS), [TIDES, MOON])
    assert lines[-1]["event"] == "error"
    assert lines[-1]["error"]["message"] == "the classifier left"


class Broken(FakeDispatcher):
    """Fails with an error that is not Trivet's own."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if isinstance(request, ClassifyRequest):
            raise ZeroDivisionError("private")
        return await super().call(request)


async def test_an_unexpected_failure_is_a_line_and_a_record(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    lines = await ask(connect(Broken(), SETTINGS), [TIDES, MOON])
    assert lines[-1]["event"] == "error"
    assert (lines[-1]["error"]["code"], "private" in json.dumps(lines)) == ("internal_error", False)
    assert "ZeroDivisionError: private" in caplog.text


async def test_no_graph_outlives_the_configured_deadline(connect: Connect) -> None:
    client = connect(Waiting(), dataclasses.replace(SETTINGS, request_timeout_s=0.05))
    asked = {"x-request-timeout-seconds": "600"}  # as the command line does
    async with asyncio.timeout(2):
        answer = await client.post("/v1/graph", json={"documents": [TIDES, MOON]}, headers=asked)
    error = json.loads(answer.text.splitlines()[-1])["error"]
    assert error["code"] == "deadline_exceeded"
    assert "after 0.05 s (limits.request_timeout_s)" in error["message"]


class Waiting(FakeDispatcher):
    """Starts to classify, and does not end."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.cancelled = 0

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        routed = await super().call(request)
        if isinstance(request, ClassifyRequest):
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return routed


async def test_work_stops_when_the_caller_leaves() -> None:
    waiting = Waiting()
    app = create_app(waiting, dataclasses.replace(SETTINGS, max_graphs=1))
    body = json.dumps({"documents": [TIDES, MOON]}).encode()

    class Leaving:
        """Sends a body, and leaves when the classifier has begun."""

        has_sent = False

        async def receive(self) -> Message:
            if not self.has_sent:
                self.has_sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await waiting.started.wait()
            return {"type": "http.disconnect"}

        async def send(self, message: Message) -> None: ...

    for _ in range(2):  # the second one finds the first one's place free
        waiting.started.clear()
        caller = Leaving()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/graph", "raw_path": b"/v1/graph", "query_string": b"", "root_path": "", "headers": [],
            "server": ("trivet", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        async with asyncio.timeout(2):
            await app(scope, caller.receive, caller.send)
    assert waiting.cancelled == 2
    calls = len(waiting.requests)
    await asyncio.sleep(0)
    assert len(waiting.requests) == calls


async def test_a_run_reports_to_metrics(dispatcher: FakeDispatcher) -> None:
    sink = MemorySink()
    app = create_app(dispatcher, SETTINGS, Telemetry(sink=sink))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client:
        await ask(client, [TIDES, MOON, {"id": "blank", "text": ""}])
    assert sink.value(GRAPH_DOCUMENTS, result="done") == 2
    assert sink.value(GRAPH_DOCUMENTS, result="refused") == 1
    assert sink.value(GRAPH_EDGES) == 1


async def test_code_is_related_by_what_it_uses(connect: Connect, dispatcher: FakeDispatcher) -> None:
    twin = {"id": "twin.py", "path": "twin.py", "text": AREA["text"].replace("circle", "elsewhere")}
    lines = await ask(connect(dispatcher, ApiSettings(threshold=0.9)), [AREA, CIRCLE, twin])
    edges = of(lines, "edge")
    assert [(edge["source"], edge["target"], edge["relation"]) for edge in edges] == [
        ("area.py", "circle.py", "dependency")
    ]
    assert edges[0]["confidence"] >= 0.9
