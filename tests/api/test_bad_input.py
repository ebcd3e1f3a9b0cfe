"""Whatever is sent to the native routes, the answer is a 4xx that names the field: never a 500, never a hang."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api.settings import ApiSettings

MIB = 1024**2

RERANK: dict[str, Any] = {"query": "q", "documents": ["d"]}
CLASSIFY: dict[str, Any] = {"input": "text", "labels": ["a", "b"]}
RELATIONS: dict[str, Any] = {"source": "s", "candidates": ["c"]}
PAIRS: dict[str, Any] = {"pairs": [{"source": "a", "target": "b"}]}

WRONG: list[tuple[str, Any, str]] = [
    # embeddings
    ("/v1/embeddings", {}, "input"),
    ("/v1/embeddings", [], "body"),
    ("/v1/embeddings", None, "body"),
    ("/v1/embeddings", {"input": []}, "input"),
    ("/v1/embeddings", {"input": ""}, "input[0]"),
    ("/v1/embeddings", {"input": ["a", ""]}, "input[1]"),
    ("/v1/embeddings", {"input": None}, "input"),
    ("/v1/embeddings", {"input": 3.5}, "input[0]"),
    ("/v1/embeddings", {"input": {"text": "a"}}, "input[0]"),
    ("/v1/embeddings", {"input": ["a", None]}, "input[1]"),
    ("/v1/embeddings", {"input": [True]}, "input[0]"),
    ("/v1/embeddings", {"input": [1, 2, 3]}, "input"),
    ("/v1/embeddings", {"input": [[1, 2], [3]]}, "input"),
    ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions"),
    ("/v1/embeddings", {"input": "a", "dimensions": -4}, "dimensions"),
    ("/v1/embeddings", {"input": "a", "dimensions": "many"}, "dimensions"),
    ("/v1/embeddings", {"input": "a", "dimensions": 1.5}, "dimensions"),
    ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ("/v1/embeddings", {"input": "a", "input_type": "poem"}, "input_type"),
    ("/v1/embeddings", {"input": "a", "long_input": "maybe"}, "long_input"),
    ("/v1/embeddings", {"input": "a", "model": 5}, "model"),
    # rerank
    ("/v1/rerank", {"documents": ["d"]}, "query"),
    ("/v1/rerank", {"query": "q"}, "documents"),
    ("/v1/rerank", {**RERANK, "query": ""}, "query"),
    ("/v1/rerank", {**RERANK, "query": ["q"]}, "query"),
    ("/v1/rerank", {**RERANK, "documents": []}, "documents"),
    ("/v1/rerank", {**RERANK, "documents": "d"}, "documents"),
    ("/v1/rerank", {**RERANK, "documents": ["d", ""]}, "documents[1]"),
    ("/v1/rerank", {**RERANK, "documents": ["d", 7]}, "documents[1]"),
    ("/v1/rerank", {**RERANK, "top_n": 0}, "top_n"),
    ("/v1/rerank", {**RERANK, "top_n": -1}, "top_n"),
    ("/v1/rerank", {**RERANK, "top_n": "two"}, "top_n"),
    ("/v1/rerank", {**RERANK, "return_documents": "perhaps"}, "return_documents"),
    # classify
    ("/v1/classify", {"input": "text"}, "labels"),
    ("/v1/classify", {**CLASSIFY, "input": []}, "input"),
    ("/v1/classify", {**CLASSIFY, "input": ""}, "input[0].text"),
    ("/v1/classify", {**CLASSIFY, "input": [{"text": "a", "text_pair": ""}]}, "input[0].text_pair"),
    ("/v1/classify", {**CLASSIFY, "input": [{"txt": "a"}]}, "input[0].text"),
    ("/v1/classify", {**CLASSIFY, "labels": []}, "labels"),
    ("/v1/classify", {**CLASSIFY, "labels": {}}, "labels"),
    ("/v1/classify", {**CLASSIFY, "labels": "sport"}, "labels"),
    ("/v1/classify", {**CLASSIFY, "labels": ["a", "a"]}, "labels"),
    ("/v1/classify", {**CLASSIFY, "labels": ["a", 1]}, "labels"),
    ("/v1/classify", {**CLASSIFY, "labels": {"a": ""}}, "labels.a"),
    ("/v1/classify", {**CLASSIFY, "multi_label": "yes please"}, "multi_label"),
    ("/v1/classify", {**CLASSIFY, "hypothesis_template": "About nothing."}, "hypothesis_template"),
    ("/v1/classify", {**CLASSIFY, "label_set": "unknown"}, "label_set"),
    # relations
    ("/v1/relations", {**RELATIONS, "candidates": []}, "candidates"),
    ("/v1/relations", {**RELATIONS, "candidates": ["c", ""]}, "candidates[1]"),
    ("/v1/relations", {**RELATIONS, "top_k": 0}, "top_k"),
    ("/v1/relations", {**RELATIONS, "min_relevance": 1.5}, "min_relevance"),
    ("/v1/relations", {**RELATIONS, "threshold": -0.1}, "threshold"),
    ("/v1/relations", {**RELATIONS, "relations": "default"}, "relations"),
    ("/v1/relations", {**RELATIONS, "relations": {"only": "one"}}, "relations"),
    ("/v1/relations", {**PAIRS, "pairs": [{"source": "a"}]}, "pairs[0].target"),
    ("/v1/relations", {**PAIRS, "pairs": []}, "pairs"),
    # either source and candidates, or pairs
    ("/v1/relations", {"source": "s"}, "candidates"),
    ("/v1/relations", {"candidates": ["c"]}, "source"),
    ("/v1/relations", {**RELATIONS, **PAIRS}, "source"),
    ("/v1/relations", {**PAIRS, "top_k": 3}, "top_k"),
    ("/v1/relations", {}, "source"),
]


async def _refused(client: httpx.AsyncClient, path: str, content: Any, status: int = 400) -> dict[str, Any]:
    response = await client.post(path, content=content, headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    return dict(error)


@pytest.mark.parametrize(("path", "body", "param"), WRONG)
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, body: Any, param: str
) -> None:
    error = await _refused(client, path, json.dumps(body))
    assert error["param"] == param
    assert dispatcher.requests == []


@pytest.mark.parametrize(
    ("path", "text", "param"),
    [
        ("/v1/embeddings", r'{"input": ["fine", "broken \ud800 here"]}', "input[1]"),
        ("/v1/rerank", r'{"query": "\udfff", "documents": ["d"]}', "query"),
        ("/v1/rerank", r'{"query": "q", "documents": ["\ud800"]}', "documents[0]"),
        ("/v1/classify", r'{"input": "\ud800", "labels": ["a"]}', "input[0].text"),
        ("/v1/classify", r'{"input": "a", "labels": ["\ud800"]}', "labels"),
        ("/v1/classify", r'{"input": "a", "labels": {"\ud800": "h"}}', "labels"),
        ("/v1/relations", r'{"source": "s", "candidates": ["\ud800"]}', "candidates[0]"),
        ("/v1/rerank", r'{"query": "q", "documents": [{"text": "\ud83d"}]}', "documents[0].text"),
        ("/v1/rerank", r'{"query": "q", "documents": [{"text": "a", "\ud83d": "b"}]}', "documents[0]"),
        ("/v1/classify", r'{"input": "a", "labels": ["b"], "hypothesis_template": "\ud83d {}"}', "hypothesis_template"),
        ("/v1/relations", r'{"source": "s", "candidates": ["c"], "relations": {"a": "\ud83d", "b": "x"}}', "relations"),
    ],
)
async def test_a_lone_surrogate_is_refused(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, text: str, param: str
) -> None:
    error = await _refused(client, path, text)
    assert error["param"].startswith(param)
    assert dispatcher.requests == []


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/v1/embeddings", r'{"input": "a", "model": "\ud800"}', 404, r"\ud800"),
        ("/v1/classify", r'{"input": "a", "labels": ["b"], "\ud83d": 1}', 400, "half of a surrogate"),
        ("/v1/graph", r'{"documents": [{"id": "a", "text": "b"}], "embedder": "\ud800"}', 404, r"\ud800"),
        ("/v2/rerank", r'{"query": "q", "documents": ["d"], "model": "\ud800"}', 404, r"\ud800"),
        ("/tokenize", r'{"inputs": "a", "model": "\ud800"}', 404, r"\ud800"),
        ("/score", r'{"text_1": "a", "text_2": "b", "model": "\ud800"}', 404, r"\ud800"),
        ("/api/show", r'{"model": "\ud800"}', 404, r"\ud800"),
    ],
)
async def test_a_name_of_half_a_surrogate_can_be_repeated(
    client: httpx.AsyncClient, path: str, body: str, status: int, named: str
) -> None:
    response = await client.post(path, content=body)
    assert response.status_code == status
    assert json.dumps(named)[1:-1] in response.text


async def test_a_declared_length_without_end_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/embeddings", content=b"{}", headers={"content-length": "9" * 5000})
    assert response.status_code == 413


async def test_the_name_of_a_pair_is_not_taken_for_a_field(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/relations", json={**RELATIONS, "relations": {"": "The first needs the second."}})
    assert response.json()["error"]["param"] == "relations"
    assert response.json()["error"]["message"] == 'relations: the name "" must not be empty'


async def test_token_ids_are_refused_with_the_way_out(client: httpx.AsyncClient) -> None:
    error = await _refused(client, "/v1/embeddings", json.dumps({"input": [[9906, 1917]]}))
    assert error["code"] == "token_ids"
    assert "check_embedding_ctx_length=False" in error["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["min_relevance", "threshold", "top_k"])
async def test_numbers_that_are_none_are_refused(client: httpx.AsyncClient, field: str, number: str) -> None:
    error = await _refused(client, "/v1/relations", f'{{"source": "s", "candidates": ["c"], "{field}": {number}}}')
    assert error["param"] == field


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"not json", b"\xff\xfe", b'{"input": "a"', b"[" * 100_000, b'{"input": ' + b"9" * 5000 + b"}"],
    ids=["empty", "open brace", "words", "not utf-8", "unclosed", "nested deeply", "number without end"],
)
async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient, text: bytes) -> None:
    await _refused(client, "/v1/embeddings", text)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/v1/classify", "/v1/relations"])
async def test_ten_megabytes_are_refused_by_their_declared_length(client: httpx.AsyncClient, path: str) -> None:
    body = json.dumps({"input": "x" * 10 * MIB})
    assert (await _refused(client, path, body, status=413))["code"] == "body_too_large"


async def test_ten_megabytes_in_chunks_are_refused_while_they_arrive(connect: Connect) -> None:
    sent_bytes = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        yield b'{"input": "'
        for _ in range(10):
            sent_bytes += MIB
            yield b"x" * MIB
        yield b'"}'

    client = connect(FakeDispatcher(), ApiSettings(max_body_bytes=2 * MIB))
    error = await _refused(client, "/v1/embeddings", chunks(), status=413)
    assert error["param"] == "body"
    assert sent_bytes <= 4 * MIB  # the rest was never asked for


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"input": ["a"] * 4}, "input"),
        ("/v1/rerank", {**RERANK, "documents": ["a"] * 4}, "documents"),
        ("/v1/classify", {**CLASSIFY, "input": ["a"] * 4}, "input"),
        ("/v1/relations", {**RELATIONS, "candidates": ["a"] * 4}, "candidates"),
        ("/v1/relations", {"pairs": PAIRS["pairs"] * 4}, "pairs"),
    ],
)
async def test_more_inputs_than_allowed_are_refused(connect: Connect, path: str, body: Any, param: str) -> None:
    error = await _refused(connect(FakeDispatcher(), ApiSettings(max_inputs=3)), path, json.dumps(body))
    assert (error["param"], error["code"]) == (param, "too_many_inputs")


async def test_two_thousand_and_forty_eight_inputs_are_taken(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/embeddings", json={"input": ["a"] * 2048})
    assert response.status_code == 200
    assert len(response.json()["data"]) == 2048


@pytest.mark.parametrize("stated", ["0", "-1", "nan", "inf", "soon"])
async def test_a_deadline_must_be_a_positive_number(client: httpx.AsyncClient, stated: str) -> None:
    response = await client.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-timeout-seconds": stated})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-request-timeout-seconds"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/embeddings", 405), ("POST", "/v1/nothing", 404)])
async def test_a_wrong_method_or_path_has_the_same_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
