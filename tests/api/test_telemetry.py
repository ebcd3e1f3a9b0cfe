"""What a request leaves behind: metrics by route template, one log line with its fields, and its id."""

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.support.dispatcher import DEVICE, TIMINGS, FakeDispatcher
from tests.support.memory_sink import MemorySink
from trivet.api.app import create_app
from trivet.api.key_ring import KeyRing, hash_key
from trivet.api.middleware.telemetry import MAX_REQUEST_ID, UNMATCHED, Telemetry, TelemetryMiddleware
from trivet.api.settings import ApiSettings
from trivet.errors import Overloaded
from trivet.metrics import CALL_FAILURES, METRICS, REQUEST_SECONDS, REQUESTS, STAGE_SECONDS

SECRET = "the harbour froze in January"


class Served:
    """The application with a sink that remembers."""

    def __init__(self, dispatcher: FakeDispatcher | None = None, settings: ApiSettings | None = None) -> None:
        self.sink = MemorySink()
        app = create_app(dispatcher or FakeDispatcher(), settings or ApiSettings(), Telemetry(self.sink))
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://trivet"
        )

    async def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers=headers)

    def requests(self, route: str, dialect: str, status: int) -> float:
        return self.sink.value(REQUESTS, route=route, dialect=dialect, status=str(status))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="trivet.requests")
    return caplog


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    [record] = [record for record in caplog.records if record.name == "trivet.requests"]
    return vars(record)


@pytest.mark.parametrize(
    ("path", "body", "dialect"),
    [
        ("/v1/embeddings", {"input": "a"}, "native"),
        ("/v1/rerank", {"query": "a", "documents": ["b"]}, "rerank_v1"),
        ("/v2/rerank", {"model": "", "query": "a", "documents": ["b"]}, "cohere_v2"),
        ("/embed", {"inputs": "a"}, "tei"),
        ("/rerank", {"query": "a", "texts": ["b"]}, "tei"),
        ("/rerank", {"query": "a", "documents": ["b"], "raw_scores": True}, "infinity"),
        ("/rerank", {"query": "a", "documents": ["b"]}, "vllm"),
        ("/classify", {"input": ["a"], "raw_scores": True}, "infinity"),
    ],
)
async def test_requests_are_counted_by_route_and_by_the_dialect_they_turn_out_to_speak(
    path: str, body: dict[str, Any], dialect: str
) -> None:
    served = Served()
    answer = await served.post(path, body)
    assert served.requests(path, dialect, answer.status_code) == 1
    assert len(served.sink.observed(REQUEST_SECONDS, route=path, dialect=dialect)) == 1


async def test_a_path_with_a_parameter_is_counted_under_its_template() -> None:
    served = Served()
    for name in ("embedder", "reranker"):
        await served.client.get(f"/v1/models/{name}")
    assert served.requests("/v1/models/{model_id:path}", "native", 200) == 2


async def test_unknown_paths_share_one_route() -> None:
    served = Served()
    for path in ("/.env", "/wp-login.php"):
        await served.client.get(path)
    assert served.requests(UNMATCHED, "native", 404) == 2


async def test_requests_that_middleware_refuses_are_counted() -> None:
    keys = KeyRing.parse(f"someone {hash_key('right')}", origin="test")
    served = Served(settings=ApiSettings(keys=keys, max_body_bytes=100))
    await served.post("/v1/embeddings", {"input": "a"}, authorization="Bearer wrong")
    await served.post("/v1/embeddings", {"input": "a" * 200}, authorization="Bearer right")
    assert served.requests(UNMATCHED, "native", 401) == 1
    assert served.requests(UNMATCHED, "native", 413) == 1


async def test_stages_are_measured_per_call() -> None:
    served = Served()
    await served.post("/v1/embeddings", {"input": "a"})

    def stage(name: str) -> list[float]:
        return served.sink.observed(STAGE_SECONDS, stage=name, model="embedder", lane="cpu")

    assert stage("tokenize") == [TIMINGS.tokenize_s]
    assert stage("queue") == [TIMINGS.queue_s]
    assert stage("forward") == [TIMINGS.forward_s]
    [total], [admit] = stage("total"), stage("admit")
    assert total > 0
    assert admit > 0


async def test_only_the_first_call_of_a_request_is_admitted() -> None:
    served = Served()
    answer = await served.post("/v1/relations", {"source": "a b", "candidates": ["a b"], "min_relevance": 0})
    assert answer.status_code == 200
    assert len(served.sink.observed(STAGE_SECONDS, stage="admit", model="reranker", lane="cpu")) == 1
    assert served.sink.observed(STAGE_SECONDS, stage="admit", model="classifier", lane="cpu") == []
    assert len(served.sink.observed(STAGE_SECONDS, stage="total", model="classifier", lane="cpu")) == 1


async def test_failed_calls_are_counted_by_error(lines: pytest.LogCaptureFixture) -> None:
    served = Served(FakeDispatcher(error=Overloaded("full", retry_after_s=1)))
    await served.post("/v1/embeddings", {"input": SECRET})
    assert served.sink.value(CALL_FAILURES, model="embedder", error="Overloaded") == 1
    assert served.requests("/v1/embeddings", "native", 429) == 1
    logged = line(lines)
    assert (logged["http_status"], logged["error"], logged["calls"]) == (429, "overloaded", [])


async def test_the_line_says_what_happened_and_no_text(lines: pytest.LogCaptureFixture) -> None:
    served = Served(FakeDispatcher(reroute_reason="embedder: 250 MiB free, 500 MiB needed: moved to cpu"))
    await served.post("/v1/embeddings?q=frozen", {"input": [SECRET, "b"]}, **{"x-request-id": "abc-1"})
    logged = line(lines)
    assert {
        name: logged[name]
        for name in ("request_id", "http_method", "http_route", "http_status", "dialect", "lane", "device", "tokens")
    } == {
        "request_id": "abc-1",
        "http_method": "POST",
        "http_route": "/v1/embeddings",
        "http_status": 200,
        "dialect": "native",
        "lane": "cpu",
        "device": DEVICE,
        "tokens": 6,
    }
    assert logged["reroute_reason"] == "embedder: 250 MiB free, 500 MiB needed: moved to cpu"
    assert logged["duration_ms"] > 0
    [call] = logged["calls"]
    assert (call["model"], call["calls"], call["sequences"]) == ("embedder", 1, 2)
    assert (call["tokenize_ms"], call["queue_ms"], call["forward_ms"]) == (1.0, 2.0, 3.0)
    everything = json.dumps({name: value for name, value in logged.items() if name != "args"}, default=str)
    assert "harbour" not in everything
    assert "frozen" not in everything


@pytest.mark.slow
async def test_calls_of_a_stream_are_added_up_in_one_line(lines: pytest.LogCaptureFixture) -> None:
    served = Served(settings=ApiSettings(stream_chunk_inputs=2))
    await served.post("/v1/embeddings", {"input": ["a"] * 6}, accept="application/x-ndjson")
    [call] = line(lines)["calls"]
    assert (call["calls"], call["tokens"], call["forward_ms"]) == (3, 6, 9.0)


async def test_watchers_are_counted_but_write_no_line(lines: pytest.LogCaptureFixture) -> None:
    served = Served()
    await served.client.get("/healthz")
    assert served.requests("/healthz", "native", 200) == 1
    assert [record for record in lines.records if record.name == "trivet.requests"] == []


async def test_lines_can_be_turned_off(lines: pytest.LogCaptureFixture) -> None:
    app = create_app(FakeDispatcher(), ApiSettings(), Telemetry(log=None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client:
        await client.get("/v1/models")
    assert lines.records == []


async def test_the_request_id_goes_in_and_comes_out(lines: pytest.LogCaptureFixture) -> None:
    served = Served()
    answer = await served.post("/v1/embeddings", {"input": "a"}, **{"x-request-id": "given"})
    assert answer.headers.get_list("x-request-id") == ["given"]
    made = [(await served.client.get("/v1/models")).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    long = await served.client.get("/v1/models", headers={"x-request-id": "x" * 1000})
    assert len(long.headers["x-request-id"]) == MAX_REQUEST_ID


async def test_behind_a_proxy_that_answers_with_the_id_it_is_not_repeated() -> None:
    app = create_app(FakeDispatcher(), ApiSettings(), Telemetry(answer_request_id=False))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client:
        assert "x-request-id" not in (await client.get("/v1/models")).headers


@pytest.mark.parametrize(("raised", "status"), [(asyncio.CancelledError, "499"), (RuntimeError, "500")])
async def test_a_request_that_ends_in_an_exception_is_counted(raised: type[BaseException], status: str) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise raised

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    sink = MemorySink()
    with pytest.raises(raised):
        await TelemetryMiddleware(failing, telemetry=Telemetry(sink))(
            {"type": "http", "method": "GET", "headers": []}, receive, send
        )
    assert sink.value(REQUESTS, route=UNMATCHED, dialect="native", status=status) == 1


async def test_nothing_configures_logging() -> None:
    Served()
    logger = logging.getLogger("trivet.requests")
    assert (logger.handlers, logger.level, logger.propagate) == ([], logging.NOTSET, True)


def test_no_metric_of_a_request_has_an_open_ended_label() -> None:
    bounded = {"route", "dialect", "status", "stage", "model", "lane", "error", "cause", "process", "device", "result"}
    bounded |= {"limit"}  # time or memory
    bounded |= {"step", "tenant"}  # a tenant is one of the few models that one Ollama has loaded
    assert {label for metric in METRICS for label in metric.labels} <= bounded
