"""text-embeddings-inference's dialect."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import CLASSIFIER, EMBEDDER, RERANKER, FakeDispatcher, sigmoid, softmax, vector_of
from trivet.api.settings import ApiSettings
from trivet.errors import DeadlineExceeded, EngineError, Overloaded, TrivetError, Unavailable
from trivet.messages import EmbedRequest, PredictRequest, RerankRequest

LONG = "word " * 1000


@pytest.mark.parametrize(("inputs", "texts"), [("one", ["one"]), (["one"], ["one"]), (["one", "two"], ["one", "two"])])
async def test_embed_answers_a_list_of_vectors_even_for_one_text(
    client: httpx.AsyncClient, inputs: Any, texts: list[str]
) -> None:
    answer = (await client.post("/embed", json={"inputs": inputs})).json()
    assert np.allclose(answer, [vector_of(text) for text in texts], atol=1e-6)


async def test_embed_passes_its_parameters_on(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    body = {"inputs": "a", "normalize": False, "prompt_name": "query", "dimensions": 5, "truncate": True}
    answer = (await client.post("/embed", json=body, headers={"x-trivet-priority": "bulk"})).json()
    assert len(answer[0]) == 5
    assert dispatcher.requests == [
        EmbedRequest(
            ("a",),
            None,
            "query",
            dimensions=5,
            normalize=False,
            long_input="window",
            priority="bulk",
            inputs_field="inputs",
        )
    ]


@pytest.mark.parametrize("inputs", [[1, 2, 3], [[1, 2], "text"]])
async def test_token_ids_are_refused(client: httpx.AsyncClient, inputs: Any) -> None:
    response = await client.post("/embed", json={"inputs": inputs})
    assert response.status_code == 422
    assert response.json()["error_type"] == "Validation"
    assert "token ids are not accepted" in response.json()["error"]


@pytest.mark.parametrize(
    ("truncate", "means", "policy"),
    [
        (True, "window", "window"),
        (True, "truncate", "truncate"),
        (False, "truncate", "window"),
        (None, "truncate", "window"),
    ],
)
async def test_truncate_cuts_only_where_the_settings_say_so(
    connect: Connect, dispatcher: FakeDispatcher, truncate: bool | None, means: Any, policy: str
) -> None:
    client = connect(dispatcher, ApiSettings(truncate_means=means))
    await client.post("/embed", json={"inputs": LONG, "truncate": truncate})
    await client.post("/rerank", json={"query": "q", "texts": [LONG], "truncate": truncate})
    await client.post("/predict", json={"inputs": LONG, "truncate": truncate})
    parameters = {"truncate": truncate}
    inputs = {"source_sentence": "q", "sentences": [LONG]}
    await client.post("/similarity", json={"inputs": inputs, "parameters": parameters})
    assert [request.long_input for request in dispatcher.requests] == [policy] * 4


async def test_cutting_on_the_left_is_refused_where_it_would_happen(connect: Connect) -> None:
    body = {"inputs": LONG, "truncate": True, "truncation_direction": "Left"}
    assert (await connect(FakeDispatcher()).post("/embed", json=body)).status_code == 200
    response = await connect(FakeDispatcher(), ApiSettings(truncate_means="truncate")).post("/embed", json=body)
    assert response.status_code == 422


async def test_windows_and_truncation_are_in_the_headers(connect: Connect) -> None:
    headers = (await connect(FakeDispatcher()).post("/embed", json={"inputs": ["a", LONG]})).headers
    assert headers["x-trivet-windows"] == "6"
    assert "x-trivet-truncated" not in headers
    cutting = connect(FakeDispatcher(), ApiSettings(truncate_means="truncate"))
    headers = (await cutting.post("/embed", json={"inputs": ["a", LONG], "truncate": True})).headers
    assert headers["x-trivet-truncated"] == "1"


async def test_rerank_is_a_bare_list_best_first(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    body = {"query": "red fox", "texts": ["wolf", "red fox", "fox"]}
    answer = (await client.post("/rerank", json=body)).json()
    expected = sigmoid(np.array([1.0, 0.0, -1.0], dtype=np.float32))
    assert [item["index"] for item in answer] == [1, 2, 0]
    assert [item["score"] for item in answer] == pytest.approx(expected)
    assert all(set(item) == {"index", "score"} for item in answer)
    assert dispatcher.requests == [RerankRequest("red fox", ("wolf", "red fox", "fox"), inputs_field="texts")]


async def test_rerank_raw_and_with_text(client: httpx.AsyncClient) -> None:
    body = {"query": "red fox", "texts": ["wolf", "red fox"], "raw_scores": True, "return_text": True}
    assert (await client.post("/rerank", json=body)).json() == [
        {"index": 1, "score": 1.0, "text": "red fox"},
        {"index": 0, "score": -1.0, "text": "wolf"},
    ]


@pytest.mark.parametrize(
    ("inputs", "pairs", "is_batch"),
    [
        ("a", [("a", None)], False),
        (["a"], [("a", None)], False),
        (["a b", "a b c"], [("a b", "a b c")], False),
        ([["a"], ["a b", "a b c"]], [("a", None), ("a b", "a b c")], True),
        ([["a"]], [("a", None)], True),
    ],
)
async def test_predict_takes_a_text_a_pair_or_a_batch(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, inputs: Any, pairs: list[Any], is_batch: bool
) -> None:
    answer = (await client.post("/predict", json={"inputs": inputs})).json()
    [request] = dispatcher.requests
    assert isinstance(request, PredictRequest)
    assert [(item.text, item.text_pair) for item in request.inputs] == pairs
    answers = answer if is_batch else [answer]
    assert len(answers) == len(pairs)
    for classes in answers:
        assert {item["label"] for item in classes} == set(CLASSIFIER.labels)
        assert sum(item["score"] for item in classes) == pytest.approx(1.0)
        assert classes[0]["score"] >= classes[1]["score"]


async def test_predict_raw_scores_are_logits(client: httpx.AsyncClient) -> None:
    body = {"inputs": ["red fox", "red fox runs"]}
    raw = (await client.post("/predict", json={**body, "raw_scores": True})).json()
    assert raw == [{"label": "entailment", "score": 1.0}, {"label": "not_entailment", "score": 0.0}]
    shares = (await client.post("/predict", json=body)).json()
    expected = softmax(np.array([1.0, 0.0], dtype=np.float32))
    assert [item["score"] for item in shares] == pytest.approx(expected)


@pytest.mark.parametrize("inputs", [["a", "b", "c"], [["a", "b", "c"]], [], [[]], [["a"], "b"], 5])
async def test_predict_refuses_other_forms(client: httpx.AsyncClient, inputs: Any) -> None:
    response = await client.post("/predict", json={"inputs": inputs})
    assert response.status_code in (400, 422)
    assert response.json()["error"].startswith("inputs")


async def test_similarity_is_the_cosine(client: httpx.AsyncClient) -> None:
    inputs = {"source_sentence": "red fox", "sentences": ["red fox", "grey wolf"]}
    answer = (await client.post("/similarity", json={"inputs": inputs})).json()
    assert answer == pytest.approx([1.0, float(vector_of("red fox") @ vector_of("grey wolf"))], abs=1e-6)


async def test_tokenize(client: httpx.AsyncClient) -> None:
    [tokens] = (await client.post("/tokenize", json={"inputs": "red fox"})).json()
    assert tokens[1:-1] == [
        {"id": 3, "text": "red", "special": False, "start": 0, "stop": 3},
        {"id": 3, "text": "fox", "special": False, "start": 4, "stop": 7},
    ]
    assert tokens[0] == {"id": 0, "text": "<s>", "special": True, "start": None, "stop": None}
    [bare] = (await client.post("/tokenize", json={"inputs": "red fox", "add_special_tokens": False})).json()
    assert bare == tokens[1:-1]


async def test_tokenize_refuses_what_would_fill_the_memory(client: httpx.AsyncClient) -> None:
    response = await client.post("/tokenize", json={"inputs": ["x" * 600_000] * 2})
    assert response.status_code == 422


async def test_info_is_the_embedders_card(client: httpx.AsyncClient) -> None:
    info = (await client.get("/info")).json()
    assert info["model_id"] == EMBEDDER.name
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == EMBEDDER.max_tokens
    assert info["max_client_batch_size"] == ApiSettings().max_inputs
    assert info["auto_truncate"] is False


async def test_info_of_the_others(client: httpx.AsyncClient) -> None:
    assert "reranker" in (await client.get("/info", params={"model": RERANKER.name})).json()["model_type"]
    classifier = (await client.get("/info", params={"model": "classifier"})).json()["model_type"]["classifier"]
    assert classifier == {"id2label": {"0": "entailment", "1": "not_entailment"}, "label2id": dict(CLASSIFIER.labels)}


async def test_health(connect: Connect) -> None:
    response = await connect(FakeDispatcher()).get("/health")
    assert (response.status_code, response.content) == (200, b"")
    response = await connect(FakeDispatcher(error=Unavailable("starting"))).get("/health")
    assert (response.status_code, response.json()["error_type"]) == (503, "Unhealthy")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed", {"inputs": "a"}),
        ("/rerank", {"query": "q", "texts": ["a"]}),
        ("/predict", {"inputs": "a"}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}),
        ("/", {"inputs": "a"}),
    ],
)
async def test_timing_headers(client: httpx.AsyncClient, path: str, body: Any) -> None:
    headers = (await client.post(path, json=body)).headers
    assert int(headers["x-compute-tokens"]) >= 1
    assert int(headers["x-compute-characters"]) >= 1
    stages = [headers[f"x-{stage}-time"] for stage in ("tokenization", "queue", "inference")]
    assert stages == ["1", "2", "3"]
    assert int(headers["x-total-time"]) >= 0


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (Overloaded("full", retry_after_s=6.2), 429, "Overloaded"),
        (Unavailable("no lane", retry_after_s=2.0), 503, "Unhealthy"),
        (EngineError("the forward failed"), 424, "Backend"),
        (DeadlineExceeded("too late"), 424, "Backend"),
    ],
)
async def test_errors(connect: Connect, error: TrivetError, status: int, error_type: str) -> None:
    client = connect(FakeDispatcher(error=error))
    response = await client.post("/embed", json={"inputs": "a"})
    assert response.status_code == status
    assert response.json() == {"error": error.message, "error_type": error_type}
    if isinstance(error, Overloaded):
        assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        ({"inputs": ""}, 400, "Empty"),
        ({"inputs": []}, 400, "Empty"),
        ({"inputs": ["a", ""]}, 400, "Empty"),
        ({"inputs": {"a": 1}}, 422, "Validation"),
        ({}, 422, "Validation"),
        ({"inputs": "a", "normalize": "maybe"}, 422, "Validation"),
    ],
)
async def test_bad_input(client: httpx.AsyncClient, body: Any, status: int, error_type: str) -> None:
    response = await client.post("/embed", json=body)
    assert (response.status_code, response.json()["error_type"]) == (status, error_type)


async def test_the_error_shape_holds_where_the_body_cannot_be_read_strictly(client: httpx.AsyncClient) -> None:
    text = r'{"query": "q", "texts": ["\ud800"], "note": NaN}'
    response = await client.post("/rerank", content=text, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error_type"]) == (422, "Validation")


async def test_the_root_embeds_or_reranks_by_the_fields(client: httpx.AsyncClient) -> None:
    assert len((await client.post("/", json={"inputs": ["a", "b"]})).json()) == 2
    assert (await client.post("/", json={"query": "a", "texts": ["a"]})).json()[0]["index"] == 0
