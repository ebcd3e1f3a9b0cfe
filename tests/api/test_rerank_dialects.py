"""Cohere, Jina, vLLM and infinity: one ranking in four shapes."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import RERANKER, FakeDispatcher, vector_of
from trivet.api.settings import ApiSettings
from trivet.dispatch.blending import Blend
from trivet.messages import RerankRequest

QUERY = "red fox"
DOCUMENTS = ["grey wolf", "red fox", "a fox"]
ORDER = [1, 2, 0]
BODY: dict[str, Any] = {"query": QUERY, "documents": DOCUMENTS}


async def _post(client: httpx.AsyncClient, path: str, body: Any) -> Any:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_best_first_by_position_in_the_request(client: httpx.AsyncClient, path: str) -> None:
    results = (await _post(client, path, BODY))["results"]
    assert [result["index"] for result in results] == ORDER
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_top_n_keeps_the_best(client: httpx.AsyncClient, path: str) -> None:
    results = (await _post(client, path, {**BODY, "top_n": 2}))["results"]
    assert [result["index"] for result in results] == ORDER[:2]


@pytest.mark.parametrize("extra", [{}, {"raw_scores": False}], ids=["vLLM", "infinity"])
async def test_a_top_n_of_zero_is_all_where_the_original_says_so(client: httpx.AsyncClient, extra: Any) -> None:
    assert len((await _post(client, "/rerank", {**BODY, **extra, "top_n": 0}))["results"]) == 3


async def test_the_v1_answer_serves_jina_and_cohere_at_once(client: httpx.AsyncClient) -> None:
    answer = await _post(client, "/v1/rerank", {**BODY, "return_documents": True})
    assert answer["usage"]["total_tokens"] > 0  # Jina
    assert answer["meta"] == {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}}  # Cohere
    assert answer["results"][0]["document"] == {"text": "red fox"}  # both
    assert answer["results"][0]["windows"] == 1  # ours
    assert answer["model"] == RERANKER.name


async def test_similarities_are_reported_as_unused_without_a_blend(
    connect: Connect, dispatcher: FakeDispatcher
) -> None:
    body = {"query": "red", "documents": ["red", "blue"], "similarities": [0.5, 1]}
    alone = await connect(dispatcher, ApiSettings()).post("/v1/rerank", json=body)
    assert (alone.status_code, alone.headers["x-trivet-similarities"]) == (200, "unused")
    [request] = dispatcher.requests
    assert isinstance(request, RerankRequest)
    assert request.similarities is None
    del body["similarities"]
    plain = await connect(dispatcher, ApiSettings()).post("/v1/rerank", json=body)
    assert plain.json()["results"] == alone.json()["results"]
    assert "x-trivet-similarities" not in plain.headers


async def test_similarities_enter_a_blended_score(connect: Connect) -> None:
    blended = connect(FakeDispatcher(), ApiSettings(blend=Blend(cosine_weight=100)))
    body = {"query": "red", "documents": ["red", "blue"], "similarities": [-1, 1]}
    answer = await blended.post("/v1/rerank", json=body)
    assert [result["index"] for result in answer.json()["results"]] == [1, 0]
    assert "x-trivet-similarities" not in answer.headers


async def test_known_similarities_are_one_per_document(client: httpx.AsyncClient) -> None:
    body = {"query": "red", "documents": ["red", "blue"]}
    answer = await client.post("/v1/rerank", json=body | {"similarities": [0.5]})
    assert answer.status_code == 400
    assert "1 entries for 2 documents" in answer.json()["error"]["message"]
    answer = await client.post("/v1/rerank", json=body | {"similarities": [0.5, 7]})
    assert answer.json()["error"]["param"] == "similarities[1]"


async def test_documents_are_returned_only_on_request(client: httpx.AsyncClient) -> None:
    assert all("document" not in result for result in (await _post(client, "/v1/rerank", BODY))["results"])


@pytest.mark.parametrize(
    ("document", "rank_fields", "read"),
    [
        ({"text": "body", "title": "t"}, None, "body"),
        ({"text": "body", "title": "t"}, ["title"], "t"),
        ({"text": "body", "title": "t"}, ["title", "text"], "title: t\ntext: body"),
        ({"text": "", "title": "t"}, ["title", "text"], "t"),
        ({"title": "t", "author": "a"}, None, "title: t\nauthor: a"),
    ],
)
async def test_what_is_read_of_a_document_with_fields(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, document: Any, rank_fields: Any, read: str
) -> None:
    body = {"query": "q", "documents": [document], "rank_fields": rank_fields, "return_documents": True}
    answer = await _post(client, "/v1/rerank", body)
    assert dispatcher.requests == [RerankRequest("q", (read,))]
    assert answer["results"][0]["document"] == document


@pytest.mark.parametrize("document", [{}, {"text": ""}, {"text": 5}, {"text": None}])
async def test_a_document_without_text_is_refused(client: httpx.AsyncClient, document: Any) -> None:
    response = await client.post("/v1/rerank", json={"query": "q", "documents": ["fine", document]})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith("documents[1]")


async def test_v1_errors_can_be_read_by_all_three(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/rerank", json={"query": "q", "documents": []})).json()
    assert answer["error"]["param"] == "documents"
    assert answer["message"] == answer["detail"] == answer["error"]["message"]


async def test_cohere_v2_errors_are_a_message(client: httpx.AsyncClient) -> None:
    response = await client.post("/v2/rerank", json={"query": "q", "documents": []})
    assert response.status_code == 400
    assert set(response.json()) == {"message"}


async def test_vllm_returns_documents_as_objects_and_infinity_as_text(client: httpx.AsyncClient) -> None:
    assert (await _post(client, "/rerank", BODY))["results"][0]["document"] == {"text": "red fox"}
    answer = await _post(client, "/rerank", {**BODY, "return_documents": True})
    assert answer["results"][0]["document"] == "red fox"
    answer = await _post(client, "/rerank", {**BODY, "return_documents": False})
    assert answer["results"][0]["document"] is None


async def test_infinity_raw_scores_are_logits(client: httpx.AsyncClient) -> None:
    answer = await _post(client, "/rerank", {**BODY, "raw_scores": True})
    assert [result["relevance_score"] for result in answer["results"]] == [1.0, 0.0, -1.0]


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize("fields", [("text_1", "text_2"), ("queries", "documents"), ("data_1", "data_2")])
async def test_scores_of_one_against_many(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, fields: tuple[str, str]
) -> None:
    answer = await _post(client, path, {fields[0]: QUERY, fields[1]: DOCUMENTS})
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]  # the order of the request, not of the scores
    scores = [item["score"] for item in answer["data"]]
    assert scores.index(max(scores)) == 1
    assert len(dispatcher.requests) == 1


async def test_scores_of_pairs_are_zipped_and_equal_first_texts_share_a_call(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher
) -> None:
    body = {"text_1": ["fox", "wolf", "fox"], "text_2": ["a fox", "a fox", "a wolf"]}
    answer = await _post(client, "/score", body)
    scores = [item["score"] for item in answer["data"]]
    assert scores == pytest.approx([0.5, 0.2689414, 0.2689414])
    assert {request.query: request.documents for request in dispatcher.requests} == {  # type: ignore[union-attr]
        "fox": ("a fox", "a wolf"),
        "wolf": ("a fox",),
    }


async def test_scores_of_lists_that_do_not_match_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/score", json={"text_1": ["a", "b"], "text_2": ["a", "b", "c"]})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "text_2"


async def test_an_error_names_the_pair_by_its_place_in_the_request(client: httpx.AsyncClient) -> None:
    body = {"text_1": ["fox", "wolf", "fox"], "text_2": ["a", "b", "long " * 1000]}
    response = await client.post("/score", json=body, headers={"x-trivet-long-input": "error"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "text_2[2]"
    assert response.json()["error"]["message"].startswith("text_2[2] has")


async def test_vllm_classify_names_the_likeliest_class(client: httpx.AsyncClient) -> None:
    [item] = (await _post(client, "/classify", {"input": "red fox"}))["data"]
    assert item["label"] == "not_entailment"
    assert item["num_classes"] == len(item["probs"]) == 2
    assert item["probs"][1] > item["probs"][0]


async def test_infinity_classify_lists_all_classes(client: httpx.AsyncClient) -> None:
    answer = await _post(client, "/classify", {"input": ["a", "b"], "raw_scores": True})
    assert answer["object"] == "classify"
    assert [[item["label"] for item in classes] for classes in answer["data"]] == [["not_entailment", "entailment"]] * 2


async def test_infinity_embeddings_take_zero_dimensions_for_all(client: httpx.AsyncClient) -> None:
    body = {"input": "fox", "dimensions": 0, "modality": "text", "model": "default/not-specified"}
    [item] = (await _post(client, "/embeddings", body))["data"]
    assert item["embedding"] == pytest.approx(vector_of("fox").tolist(), abs=1e-6)
    [short] = (await _post(client, "/embeddings", {**body, "dimensions": 3}))["data"]
    assert len(short["embedding"]) == 3


async def test_infinity_embeddings_are_of_texts_only(client: httpx.AsyncClient) -> None:
    response = await client.post("/embeddings", json={"input": "fox", "modality": "image"})
    assert response.json()["error"]["param"] == "modality"


async def test_infinity_models(client: httpx.AsyncClient) -> None:
    models = (await client.get("/models")).json()["data"]
    assert [model["capabilities"] for model in models] == [["embed"], ["rerank"], ["classify"]]
