"""What clients of every dialect send besides the fields that matter: each kind of it in every dialect."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api.conftest import Connect, client_of
from tests.api.test_dialect import BODIES
from tests.support.dispatcher import EMBEDDER, FakeDispatcher
from tests.support.shared_app import application
from trivet.api.app import create_app
from trivet.api.dialect import RULES
from trivet.api.key_ring import KeyRing, hash_key
from trivet.api.middleware.body import MOST_STREAMS
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig, CacheConfig
from trivet.errors import ConfigError

KIB = 1024

NATIVE: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": ["red fox"]},
    "/v1/classify": {"input": "red fox", "labels": ["fox", "wolf"]},
    "/v1/relations": {"source": "red fox", "candidates": ["grey wolf"]},
    "/v1/graph": {"documents": [{"id": "a", "text": "red fox"}, {"id": "b", "text": "a red fox"}]},
}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    *NATIVE.items(),
    *((rule.path, BODIES[rule.body]) for rule in RULES if rule.body != "none"),
]
"""A small request of every form of body, in every dialect."""

SCHEMA = application(ApiSettings())[0].openapi()


def _each_request() -> Any:
    return pytest.mark.parametrize(
        ("path", "body"), REQUESTS, ids=lambda value: value if isinstance(value, str) else ""
    )


def _forms(path: str) -> list[dict[str, Any]]:
    """The schemas of the bodies of one path."""

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        return SCHEMA["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    schema = SCHEMA["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return [resolved(one) for one in schema.get("oneOf", schema.get("anyOf", [schema]))]


def _optional(path: str, body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The optional fields of the form that a body has, with their schemas."""
    [form, *_] = [
        one for one in _forms(path) if set(body) <= set(one["properties"]) and set(one.get("required", [])) <= set(body)
    ]
    return {name: field for name, field in form["properties"].items() if name not in form.get("required", [])}


@_each_request()
async def test_null_is_absent(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    nulls = dict.fromkeys(_optional(path, body))
    response = await client.post(path, json={**nulls, **body})
    assert response.status_code == 200, response.text
    assert _lasting(response) == _lasting(await client.post(path, json=body))


def _lasting(response: httpx.Response) -> list[Any]:
    """The lines of an answer without what differs between equal requests."""
    passing = {"id", "created", "timings_ms", "total_duration", "seconds"}
    answers = [json.loads(line) for line in response.text.splitlines()]
    return [
        {name: value for name, value in answer.items() if name not in passing} if isinstance(answer, dict) else answer
        for answer in answers
    ]


FLAGS = [
    (path, body, name)
    for path, body in REQUESTS
    for name, field in _optional(path, body).items()
    if "boolean" in json.dumps(field) and "additionalProperties" not in field
]


@pytest.mark.parametrize(("path", "body", "name"), FLAGS, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_flag_may_be_a_string(client: httpx.AsyncClient, path: str, body: dict[str, Any], name: str) -> None:
    for value in ("true", "False"):
        response = await client.post(path, json={**body, name: value})
        assert response.status_code == 200, response.text
    assert (await client.post(path, json={**body, name: "perhaps"})).status_code in (400, 422)


def test_flags_were_found() -> None:
    assert {name for _, _, name in FLAGS} >= {"return_documents", "raw_scores", "truncate", "normalize", "multi_label"}


CONTENT_TYPES = [{}, *({"content-type": stated} for stated in ("application/x-www-form-urlencoded", "text/plain"))]


@_each_request()
async def test_json_is_read_under_any_content_type(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    for headers in CONTENT_TYPES:
        response = await client.post(path, content=json.dumps(body), headers=headers)
        assert response.status_code == 200, response.text


@_each_request()
async def test_a_page_must_state_that_it_sends_json(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, body: dict[str, Any]
) -> None:
    headers = {"origin": "https://elsewhere.example", "content-type": "text/plain"}
    response = await client.post(path, content=json.dumps(body), headers=headers)
    assert response.status_code == 415
    assert "content-type: application/json" in response.text
    assert dispatcher.requests == []


ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}


@_each_request()
async def test_a_compressed_body_is_read(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    for encoding, encode in ENCODERS.items():
        content = encode(json.dumps(body).encode())
        response = await client.post(path, content=content, headers={"content-encoding": encoding})
        assert response.status_code == 200, response.text


@_each_request()
async def test_an_unknown_encoding_is_named(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    response = await client.post(path, content=json.dumps(body), headers={"content-encoding": "br"})
    assert response.status_code == 415
    assert "'br'" in response.text
    assert "gzip" in response.text


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
async def test_a_body_that_grows_too_large_is_refused_while_it_is_decoded(connect: Connect, encode: Any) -> None:
    client = connect(FakeDispatcher(), ApiSettings(max_body_bytes=512 * KIB))
    bomb = encode(b'{"input": "' + b"x" * 8 * KIB * KIB + b'"}')
    assert len(bomb) < 128 * KIB
    encoding = "gzip" if encode is gzip.compress else "deflate"
    response = await client.post("/v1/embeddings", content=bomb, headers={"content-encoding": encoding})
    assert response.status_code == 413


async def test_a_compressed_body_counts_before_it_is_decoded_too(connect: Connect) -> None:
    client = connect(FakeDispatcher(), ApiSettings(max_body_bytes=16 * KIB))
    empties = gzip.compress(b"") * 1000  # 20 KB that decode to nothing

    async def chunks() -> Any:
        yield empties

    response = await client.post("/v1/embeddings", content=chunks(), headers={"content-encoding": "gzip"})
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"not gzip at all", "not gzip"), (gzip.compress(b'{"input": "a"}')[:-9], "ends too early")],
    ids=["garbage", "cut off"],
)
async def test_a_damaged_compressed_body_is_refused(client: httpx.AsyncClient, content: bytes, said: str) -> None:
    response = await client.post("/v1/embeddings", content=content, headers={"content-encoding": "gzip"})
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


async def test_several_gzip_streams_are_one_body(client: httpx.AsyncClient) -> None:
    content = gzip.compress(b'{"input": ') + gzip.compress(b'"a"}')
    assert (
        await client.post("/v1/embeddings", content=content, headers={"content-encoding": "gzip"})
    ).status_code == 200


async def test_a_body_of_thousands_of_empty_streams_is_refused(client: httpx.AsyncClient) -> None:
    whole = gzip.compress(b'{"input": "a"}')
    for streams, status in ((MOST_STREAMS - 1, 200), (5_000, 400)):
        content = gzip.compress(b"") * streams + whole
        answer = await client.post("/v1/embeddings", content=content, headers={"content-encoding": "gzip"})
        assert answer.status_code == status
    assert "gzip streams" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", [path for path, methods in SCHEMA["paths"].items() if "get" in methods and "{" not in path]
)
async def test_head_is_get_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""


async def test_head_where_there_is_no_get(client: httpx.AsyncClient) -> None:
    assert (await client.head("/v1/embeddings")).status_code == 405


PREFLIGHT = {
    "origin": "https://notes.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
GUARDED = KeyRing.parse(f"ann {hash_key('key')}", origin="test")


@_each_request()
async def test_a_preflight_needs_no_key_where_the_origin_is_allowed(
    allowing: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    response = await allowing.options(path, headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://notes.example"
    assert "authorization" in response.headers["access-control-allow-headers"]
    answer = await allowing.post(path, json=body, headers={"origin": "https://notes.example", "x-api-key": "key"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://notes.example"
    assert "x-trivet-cache" in answer.headers["access-control-expose-headers"]


async def test_a_page_can_read_that_its_key_is_wrong(allowing: httpx.AsyncClient) -> None:
    answer = await allowing.post("/v1/embeddings", json={"input": "a"}, headers={"origin": "https://notes.example"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://notes.example"


@pytest.mark.parametrize("origin", ["https://other.example", "null", "https://notes.example.evil.example"])
async def test_another_origin_is_not_allowed(allowing: httpx.AsyncClient, origin: str) -> None:
    response = await allowing.options("/v1/embeddings", headers={**PREFLIGHT, "origin": origin})
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers


@pytest.fixture(scope="module")
def allowing_app() -> FastAPI:
    settings = ApiSettings(allowed_origins=("https://notes.example",), keys=GUARDED)
    return create_app(FakeDispatcher(), settings)


@pytest.fixture
async def allowing(allowing_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(allowing_app) as client:
        yield client


async def test_no_origin_is_allowed_unless_configured(client: httpx.AsyncClient, connect: Connect) -> None:
    assert (await client.options("/v1/embeddings", headers=PREFLIGHT)).status_code == 405
    answer = await client.post("/v1/embeddings", json={"input": "a"}, headers={"origin": "https://notes.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert ApiSettings.from_config(AppConfig()).allowed_origins == ()


DOCUMENT = {"text": "red fox", "title": "t", "id": 7, "score": 0.5, "tags": ["a"], "meta": {"page": 1}, "none": None}
RERANK_PATHS = [
    ("/v1/rerank", "documents", {}),
    ("/v2/rerank", "documents", {}),
    ("/rerank", "documents", {}),
    ("/rerank", "documents", {"raw_scores": False}),
    ("/rerank", "texts", {}),
    ("/reranker/rerank", "texts", {}),
]


@pytest.mark.parametrize(("path", "field", "more"), RERANK_PATHS)
async def test_documents_may_be_objects_with_further_fields(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, field: str, more: dict[str, Any]
) -> None:
    body = {"query": "red fox", field: ["grey wolf", DOCUMENT], "input_type": "search_document", "unknown": 1, **more}
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    assert dispatcher.requests[-1].documents == ("grey wolf", "red fox")  # type: ignore[attr-defined]


async def test_a_document_comes_back_as_it_was_sent(client: httpx.AsyncClient) -> None:
    body = {"query": "red fox", "documents": [DOCUMENT], "return_documents": "true"}
    assert (await client.post("/v1/rerank", json=body)).json()["results"][0]["document"] == DOCUMENT


@pytest.mark.parametrize(("path", "field", "more"), RERANK_PATHS)
@pytest.mark.parametrize("text", [{"title": "\ud800"}, {"text": "a", "x": ["\ud800"]}, {"id": 3}, {"text": ""}, [1]])
async def test_a_document_without_text_or_of_broken_text_is_named(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, field: str, more: dict[str, Any], text: Any
) -> None:
    response = await client.post(path, content=json.dumps({"query": "red fox", field: ["a", text], **more}))
    assert response.status_code in (400, 422)
    assert f"{field}[1]" in response.text
    assert dispatcher.requests == []


@pytest.mark.parametrize(("path", "field", "more"), RERANK_PATHS)
async def test_an_empty_text_is_taken_where_the_original_takes_it(
    client: httpx.AsyncClient, path: str, field: str, more: dict[str, Any]
) -> None:
    expected = 400 if path in ("/v1/rerank", "/v2/rerank") else 200
    response = await client.post(path, json={"query": "red fox", field: ["a", ""], **more})
    assert response.status_code == expected, response.text


@pytest.mark.parametrize("path", ["/rerank", "/reranker/rerank", "/reranker", "/"])
async def test_tei_refuses_a_pair_of_empty_texts_only(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, json={"query": "", "texts": ["a", "b"]})).status_code == 200
    response = await client.post(path, json={"query": "", "texts": ["a", ""]})
    assert (response.status_code, response.json()["error_type"]) == (400, "Empty")


async def test_tei_predict_takes_half_a_pair(client: httpx.AsyncClient) -> None:
    assert (await client.post("/predict", json={"inputs": [["a", ""], ["", "b"]]})).status_code == 200
    response = await client.post("/predict", json={"inputs": [["a", "b"], ["", ""]]})
    assert (response.status_code, response.json()["error_type"]) == (400, "Empty")


EMBED_PATHS = [
    ("/v1/embeddings", {"input": "red fox"}),
    ("/embeddings", {"input": "red fox"}),
    ("/v2/embed", {"texts": ["red fox"]}),
    ("/embed", {"inputs": "red fox"}),
    ("/embedder/embed", {"inputs": "red fox"}),
    ("/api/embed", {"model": "embedder", "input": "red fox"}),
]


@pytest.mark.parametrize(("path", "body"), EMBED_PATHS)
@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ("query", "query"),
        ("search_query", "query"),
        ("passage", "document"),
        ("search_document", "document"),
        ("classification", None),
    ],
)
async def test_the_kind_of_text_is_read_in_every_embed_dialect(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, body: Any, stated: str, kind: str | None
) -> None:
    response = await client.post(path, json={**body, "input_type": stated})
    assert response.status_code == 200, response.text
    assert dispatcher.requests[-1].input_type == kind  # type: ignore[attr-defined]
    wrong = await client.post(path, json={**body, "input_type": "poem"})
    assert wrong.status_code in (400, 422)
    assert "search_document" in wrong.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": [["a"], ["b"]]}),
        ("/embeddings", {"input": [["a"], ["b"]]}),
        ("/embed", {"inputs": [["a"], ["b"]]}),
        ("/tokenize", {"inputs": [["a"], ["b"]]}),
        ("/classify", {"input": [["a"], ["b"]]}),
        ("/score", {"text_1": "a", "text_2": [["b"]]}),
    ],
)
async def test_nested_texts_are_called_nested(client: httpx.AsyncClient, path: str, body: Any) -> None:
    response = await client.post(path, json=body)
    assert response.status_code in (400, 422)
    assert "one flat list of texts" in response.text


NO_SENTENCES = ("Input should", "valid dictionary", "errors.pydantic.dev", "Field required", "validation error")


WRONG: list[Any] = [5, True, {}, [], [{}], {"a": 1}, ""]


@_each_request()
async def test_no_message_is_pydantics(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    bodies = [{**body, field: wrong} for field in [*body, *_optional(path, body)] for wrong in WRONG]
    for sent in [*bodies, *WRONG]:
        response = await client.post(path, json=sent)
        assert response.status_code in (200, 400, 404, 422), response.text
        if response.status_code != 200:
            assert not any(words in response.text for words in NO_SENTENCES), response.text


@pytest.mark.parametrize("path", sorted({path for path, _ in REQUESTS}))
async def test_what_is_no_json_is_told_so(client: httpx.AsyncClient, path: str) -> None:
    for content in (b"", b"{", b"x=1", b"\xff", b"[" * 5000):
        response = await client.post(path, content=content)
        assert response.status_code in (400, 422)
        assert "the body " in response.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/"])
async def test_the_list_of_models_has_two_paths(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).json()["data"][0]["id"] == EMBEDDER.name


async def test_a_browser_at_the_root_is_sent_to_the_page(client: httpx.AsyncClient) -> None:
    response = await client.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert (response.status_code, response.headers["location"]) == (307, "ui/")


@pytest.mark.parametrize(
    ("prefix", "kind", "calls"),
    [
        (
            "/embedder",
            "embedding",
            {
                "": {"inputs": "a"},
                "/": {"inputs": "a"},
                "/embed": {"inputs": ["a"]},
                "/similarity": {"inputs": {"source_sentence": "a", "sentences": ["a"]}},
            },
        ),
        ("/reranker", "reranker", {"": {"query": "a", "texts": ["b"]}, "/rerank": {"query": "a", "texts": ["b"]}}),
        ("/classifier", "classifier", {"": {"inputs": "a"}, "/predict": {"inputs": [["a", "b"]]}}),
    ],
)
async def test_each_model_has_the_base_url_of_a_tei_server(
    client: httpx.AsyncClient, prefix: str, kind: str, calls: dict[str, Any]
) -> None:
    info = (await client.get(f"{prefix}/info")).json()
    assert list(info["model_type"]) == [kind]
    assert (await client.get(f"{prefix}/health")).status_code == 200
    assert (await client.post(f"{prefix}/tokenize", json={"inputs": "a b"})).status_code == 200
    assert (await client.post(f"{prefix}/decode", json={"ids": [1]})).status_code == 200
    for path, body in calls.items():
        assert (await client.post(prefix + path, json=body)).status_code == 200
    wrong = await client.post(f"{prefix}/tokenize", json={})
    assert (wrong.status_code, wrong.json()["error_type"]) == (422, "Validation")
    assert (await client.post(f"{prefix}/nothing", json={})).json()["error_type"] == "Validation"


async def test_the_tokens_of_vllm_and_back(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/tokenize", json={"prompt": "red fox", "return_token_strs": True})).json()
    assert answer == {
        "count": 4,
        "max_model_len": 256,
        "tokens": [0, 3, 3, 0],
        "token_strs": ["<s>", "red", "fox", "<s>"],
    }
    assert (await client.post("/detokenize", json={"tokens": [3, 3]})).json() == {"prompt": "3 3"}
    assert (await client.post("/decode", json={"ids": [[1], [2, 3]]})).json() == ["1", "2 3"]
    assert set((await client.get("/version")).json()) == {"version"}


@pytest.mark.parametrize(
    ("path", "allowed"), [("/", "GET, HEAD, POST"), ("/v1/embeddings", "POST"), ("/healthz", "GET, HEAD")]
)
async def test_a_wrong_method_is_told_the_right_ones(client: httpx.AsyncClient, path: str, allowed: str) -> None:
    response = await client.request("DELETE", path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


async def test_a_graph_of_blank_texts_ends_with_a_summary(client: httpx.AsyncClient) -> None:
    blank = [{"id": "a", "text": " "}, {"id": "b", "text": "\n\n"}]
    response = await client.post("/v1/graph", json={"documents": blank})
    events = [json.loads(line)["event"] for line in response.text.splitlines()]
    assert events == ["refused_document", "refused_document", "progress", "summary"]


def test_the_cache_may_be_in_a_home_that_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ApiSettings.from_config(AppConfig(cache=CacheConfig(dir="~/results"))).cache_folder == tmp_path / "results"
    with pytest.raises(ConfigError, match="~nobody-here"):
        ApiSettings.from_config(AppConfig(cache=CacheConfig(dir="~nobody-here/results")))
