"""`Accept: application/x-ndjson`: results as batches finish, progress, errors as lines, and always an end."""

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api.settings import ApiSettings
from trivet.errors import EngineError, Overloaded

LINES = {"accept": "application/x-ndjson"}
TEXTS = [f"text number {number}" for number in range(70)]
RELATION = {"same": "both are the same", "other": "they differ"}


async def _lines(client: httpx.AsyncClient, path: str, body: Any, **headers: str) -> list[dict[str, Any]]:
    response = await client.post(path, json=body, headers={**LINES, **headers})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def _of(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["object"] == kind]


async def test_embeddings_are_those_of_the_plain_answer(client: httpx.AsyncClient) -> None:
    lines = await _lines(client, "/v1/embeddings", {"input": TEXTS})
    plain = (await client.post("/v1/embeddings", json={"input": TEXTS})).json()
    streamed = sorted(_of(lines, "embedding"), key=lambda line: line["index"])
    assert streamed == plain["data"]
    [end] = _of(lines, "end")
    assert end == {
        "object": "end",
        "complete": True,
        "done": 70,
        "total": 70,
        "usage": plain["usage"],
        "model": plain["model"],
    }
    assert lines[-1] is end


async def test_progress_follows_each_batch(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    lines = await _lines(client, "/v1/embeddings", {"input": TEXTS})
    progress = _of(lines, "progress")
    assert len(progress) == len(dispatcher.requests) == 3
    assert [line["done"] for line in progress] == sorted(line["done"] for line in progress)
    assert {line["total"] for line in progress} == {70}
    assert progress[0]["device"] == "cpu (fake)"


@pytest.mark.slow
async def test_a_batch_is_no_larger_than_set(connect: Connect, dispatcher: FakeDispatcher) -> None:
    client = connect(dispatcher, ApiSettings(stream_chunk_inputs=8))
    await _lines(client, "/v1/embeddings", {"input": TEXTS})
    assert max(len(request.texts) for request in dispatcher.requests) == 8  # type: ignore[union-attr]


async def test_an_error_midway_is_a_line_and_the_end_still_comes(connect: Connect) -> None:
    dispatcher = FakeDispatcher(error=EngineError("the forward failed"), answered_before_error=2)
    client = connect(dispatcher, ApiSettings(parallel_calls=1))
    lines = await _lines(client, "/v1/embeddings", {"input": TEXTS})
    [error] = _of(lines, "error")
    assert error["error"]["message"] == "the forward failed"
    end = lines[-1]
    assert (end["object"], end["complete"], end["done"], end["total"]) == ("end", False, 64, 70)
    assert len(_of(lines, "embedding")) == 64
    assert end["usage"]["total_tokens"] == 64 * 3  # only what was done is counted


async def test_an_error_before_the_first_line_is_an_http_error(connect: Connect) -> None:
    client = connect(FakeDispatcher(error=Overloaded("full", retry_after_s=3)))
    response = await client.post("/v1/embeddings", json={"input": TEXTS}, headers=LINES)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


async def test_an_error_names_the_input_by_its_place_in_the_request(connect: Connect) -> None:
    client = connect(FakeDispatcher(), ApiSettings(parallel_calls=1))
    body = {"input": [*TEXTS[:40], "long " * 1000], "long_input": "error"}
    lines = await _lines(client, "/v1/embeddings", body)
    assert _of(lines, "error")[0]["error"]["param"] == "input[40]"


async def test_relations_of_candidates(client: httpx.AsyncClient) -> None:
    body = {"source": "red fox", "candidates": [f"fox {number}" for number in range(50)], "top_k": 40}
    lines = await _lines(client, "/v1/relations", body)
    plain = (await client.post("/v1/relations", json=body)).json()
    streamed = [{key: value for key, value in line.items() if key != "object"} for line in _of(lines, "edge")]
    by_target = lambda edge: edge["target_index"]  # noqa: E731
    assert sorted(streamed, key=by_target) == sorted(plain["edges"], key=by_target)
    end = lines[-1]
    assert (end["done"], end["total"], end["complete"]) == (40, 40, True)
    reasons = ("below_min_relevance", "below_threshold", "unrelated", "unlinked_code")
    omitted = dict.fromkeys(reasons, 0) | {"beyond_top_k": 10}
    assert end["omitted"] == plain["omitted"] == omitted
    assert end["usage"] == plain["usage"]


async def test_headers_describe_the_rerank_call(connect: Connect) -> None:
    client = connect(FakeDispatcher(reroute_reason="the card is full"))
    body = {"source": "red fox", "candidates": ["fox"], "long_input": "truncate"}
    response = await client.post("/v1/relations", json=body, headers=LINES)
    assert response.headers["x-trivet-reroute-reason"] == "the card is full"
    assert response.headers["x-trivet-device"] == "cpu (fake)"
    assert "x-trivet-device" not in (await client.post("/v1/embeddings", json={"input": "a"}, headers=LINES)).headers


async def test_relations_below_the_threshold_are_counted_not_sent(client: httpx.AsyncClient) -> None:
    pairs = [{"source": "a", "target": "b"}] * 40
    lines = await _lines(client, "/v1/relations", {"pairs": pairs, "relations": RELATION, "threshold": 0.99})
    assert _of(lines, "edge") == []
    assert lines[-1]["omitted"]["below_threshold"] == 40


async def test_relations_of_nothing_relevant_are_an_end(client: httpx.AsyncClient) -> None:
    body = {"source": "red fox", "candidates": ["grey wolf"], "min_relevance": 0.9}
    [end] = await _lines(client, "/v1/relations", body)
    assert (end["object"], end["complete"], end["total"]) == ("end", True, 0)
    assert end["usage"]["total_tokens"] > 0  # the reranker has read them


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_without_the_accept_header_there_is_one_answer(client: httpx.AsyncClient, accept: str) -> None:
    response = await client.post("/v1/embeddings", json={"input": "a"}, headers={"accept": accept})
    assert response.headers["content-type"] == "application/json"
