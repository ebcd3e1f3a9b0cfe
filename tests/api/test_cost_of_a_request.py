"""What a request may cost on its way: one call per model however much it holds, no other thread, no copy too many."""

import base64
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.dispatcher import FakeDispatcher, vector_of
from trivet.messages import ClassifyRequest, RerankRequest

MANY = [f"fox number {number}" for number in range(300)]


@pytest.mark.parametrize("count", [1, 2, 300])
async def test_relations_make_one_call_per_model(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, count: int
) -> None:
    body: dict[str, Any] = {"source": "red fox", "candidates": MANY[:count], "top_k": 300, "min_relevance": 0}
    answer = await client.post("/v1/relations", json=body)
    assert answer.status_code == 200
    reranked, classified = dispatcher.requests
    assert isinstance(reranked, RerankRequest)
    assert isinstance(classified, ClassifyRequest)
    assert len(reranked.documents) == len(classified.inputs) == count


async def test_given_pairs_make_one_call_in_all(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    pairs = [{"source": "red fox", "target": text} for text in MANY]
    await client.post("/v1/relations", json={"pairs": pairs})
    [classified] = dispatcher.requests
    assert isinstance(classified, ClassifyRequest)
    assert len(classified.inputs) == len(MANY)


async def test_many_texts_make_one_call(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    await client.post("/v1/embeddings", json={"input": MANY})
    assert len(dispatcher.requests) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "red fox"}),
        ("/v1/rerank", {"query": "red fox", "documents": MANY[:2]}),
        ("/v1/classify", {"input": "red fox", "labels": ["animal", "plant"]}),
        ("/v1/relations", {"source": "red fox", "candidates": MANY[:2]}),
        ("/rerank", {"query": "red fox", "texts": MANY[:2]}),
    ],
)
async def test_no_request_needs_another_thread(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    """FastAPI runs a dependency that is a plain function in one: a fifth of what the whole request costs."""
    before = set(threading.enumerate())
    assert (await client.post(path, json=body)).status_code == 200
    assert set(threading.enumerate()) - before == set()


@pytest.mark.parametrize("dimensions", [None, 7])
async def test_base64_holds_the_vectors_bytes(client: httpx.AsyncClient, dimensions: int | None) -> None:
    body = {"input": ["red fox", "bread"], "encoding_format": "base64", "dimensions": dimensions}
    data = (await client.post("/v1/embeddings", json=body)).json()["data"]
    for entry, text in zip(data, body["input"], strict=True):  # type: ignore[arg-type]
        decoded = np.frombuffer(base64.b64decode(entry["embedding"]), dtype="<f4")
        np.testing.assert_array_equal(decoded, vector_of(text)[:dimensions])
