"""Sparse weights and vectors of tokens over HTTP, and what is refused of them."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import ByteSize

from tests.api.conftest import Connect
from tests.support.dispatcher import DIMENSIONS, FakeDispatcher, vector_of
from trivet.api.settings import ApiSettings
from trivet.config import CacheConfig
from trivet.messages import EmbedRequest
from trivet.quantize import EmbeddingType, quantize

TEXTS = ["a red fox", "grey wolves"]
SPARSE = [{"indices": [1, 3], "values": [1.0, 2.0]}, {"indices": [4, 6], "values": [1.0, 1.0]}]


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_sparse_weights_in_openais_shape(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/v1/embeddings", input=TEXTS, output="sparse")
    assert [item["embedding"] for item in answer["data"]] == SPARSE


async def test_vectors_of_tokens_in_openais_shape(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/v1/embeddings", input=TEXTS, output="tokens", input_type="query")
    first, second = (np.array(item["embedding"]) for item in answer["data"])
    assert first.shape == (3, DIMENSIONS)
    assert second.shape == (2, DIMENSIONS)
    np.testing.assert_allclose(first[1], vector_of("red"), rtol=1e-6)


async def test_sparse_weights_as_lines(client: httpx.AsyncClient) -> None:
    headers = {"accept": "application/x-ndjson"}
    answer = await client.post("/v1/embeddings", json={"input": TEXTS, "output": "sparse"}, headers=headers)
    assert '"indices":[1,3]' in answer.text


async def test_teis_routes(client: httpx.AsyncClient, dispatcher: FakeDispatcher) -> None:
    sparse = await post(client, "/embed_sparse", inputs=TEXTS, prompt_name="query")
    assert sparse[0] == [{"index": 1, "value": 1.0}, {"index": 3, "value": 2.0}]
    every = await post(client, "/embed_all", inputs="a red fox", truncate=True)
    assert np.shape(every) == (1, 3, DIMENSIONS)
    asked = [request for request in dispatcher.requests if isinstance(request, EmbedRequest)]
    assert [(request.output, request.prompt_name) for request in asked] == [("sparse", "query"), ("tokens", None)]


@pytest.mark.parametrize(
    ("task", "shape"), [("embed", (DIMENSIONS,)), ("token_embed", (3, DIMENSIONS)), (None, (DIMENSIONS,))]
)
async def test_vllms_pooling(client: httpx.AsyncClient, task: str | None, shape: tuple[int, ...]) -> None:
    answer = await post(client, "/pooling", input="a red fox", task=task)
    assert np.shape(answer["data"][0]["data"]) == shape


@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
async def test_smaller_forms_as_numbers_bytes_and_lines(client: httpx.AsyncClient, dtype: EmbeddingType) -> None:
    expected = quantize(np.stack([vector_of(text) for text in TEXTS]), dtype)
    body = {"input": TEXTS, "output_dtype": dtype}
    numbers = await post(client, "/v1/embeddings", **body)
    assert [item["embedding"] for item in numbers["data"]] == expected.tolist()
    encoded = await post(client, "/v1/embeddings", **body, encoding_format="base64")
    assert base64.b64decode(encoded["data"][1]["embedding"]) == expected[1].tobytes()
    lines = await client.post("/v1/embeddings", json=body, headers={"accept": "application/x-ndjson"})
    assert json.loads(lines.text.splitlines()[1])["embedding"] == expected[1].tolist()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"output_dtype": "int8", "output": "sparse"}, "output_dtype is for dense vectors"),
        ({"output_dtype": "binary", "dimensions": 12}, "binary needs a number of dimensions that is a multiple of 8"),
        ({"output_dtype": "int4"}, "output_dtype"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_a_form_that_the_vectors_cannot_have(
    client: httpx.AsyncClient, body: dict[str, Any], message: str, accept: str
) -> None:
    answer = await client.post("/v1/embeddings", json={"input": "x"} | body, headers={"accept": accept})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == "output_dtype"


async def test_base64_is_for_dense_vectors(client: httpx.AsyncClient) -> None:
    body = {"input": "x", "output": "sparse", "encoding_format": "base64"}
    answer = await client.post("/v1/embeddings", json=body)
    assert answer.status_code == 400
    assert "encoding_format" in answer.json()["error"]["message"]


@pytest.mark.parametrize("output", ["dense", "sparse", "tokens"])
async def test_each_output_is_cached_by_itself(connect_new: Connect, output: str) -> None:
    client = connect_new(FakeDispatcher(), ApiSettings(cache=CacheConfig(memory=ByteSize(1 << 20))))
    computed = {
        kind: await client.post("/v1/embeddings", json={"input": TEXTS, "output": kind})
        for kind in ("dense", "sparse", "tokens")
    }
    again = await client.post("/v1/embeddings", json={"input": TEXTS, "output": output})
    assert [answer.headers["x-trivet-cache"] for answer in computed.values()] == ["miss"] * 3
    assert again.headers["x-trivet-cache"] == "hit"
    assert again.json() == computed[output].json()


async def test_the_list_of_models_says_what_an_embedder_gives(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()["data"]
    assert [model["outputs"] for model in models] == [["dense", "sparse", "tokens"], None, None]


def test_an_open_request_for_token_vectors_counts_as_what_its_answer_holds() -> None:
    assert EmbedRequest(("abcd",)).held_characters == 4
    assert EmbedRequest(("abcd",), output="tokens").held_characters > 4 * 100
