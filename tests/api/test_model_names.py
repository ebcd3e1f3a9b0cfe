"""The names a model answers to."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import EMBEDDER, RERANKER, FakeDispatcher
from trivet.api.common_names import COMMON_NAMES
from trivet.api.settings import ApiSettings
from trivet.config import ApiConfig, AppConfig

SETTINGS = ApiSettings(model_aliases={"text-embedding-3-small": "embedder", "Rerank-V3.5": RERANKER.name})


@pytest.mark.parametrize(
    "name",
    [None, "", "embedder", EMBEDDER.name, EMBEDDER.name.upper(), "fake-embedder", "text-embedding-3-small"],
)
async def test_the_embedder(connect: Connect, name: str | None) -> None:
    client = connect(FakeDispatcher(), SETTINGS)
    response = await client.post("/v1/embeddings", json={"input": "a", "model": name})
    assert response.status_code == 200
    assert response.json()["model"] == EMBEDDER.name  # the answer says who answered


async def test_an_alias_may_name_a_model_instead_of_a_task(connect: Connect) -> None:
    body = {"model": "rerank-v3.5", "query": "q", "documents": ["d"]}
    assert (await connect(FakeDispatcher(), SETTINGS).post("/v2/rerank", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/classify", {"input": "a", "labels": ["b"]}),
        ("/v1/rerank", {"query": "q", "documents": ["d"]}),
        ("/v2/rerank", {"query": "q", "documents": ["d"]}),
        ("/rerank", {"query": "q", "documents": ["d"]}),
        ("/rerank", {"query": "q", "documents": ["d"], "raw_scores": True}),
        ("/score", {"text_1": "q", "text_2": "d"}),
        ("/classify", {"input": ["a"]}),
        ("/classify", {"input": ["a"], "raw_scores": True}),
        ("/embeddings", {"input": "a"}),
    ],
)
@pytest.mark.parametrize("name", ["gpt-5", "somebody/fake-embedder-2"])
async def test_an_unknown_name_is_refused_before_any_work(
    client: httpx.AsyncClient, dispatcher: FakeDispatcher, path: str, body: Any, name: str
) -> None:
    response = await client.post(path, json={**body, "model": name})
    assert response.status_code == 404
    assert name in response.text
    assert dispatcher.requests == []


async def test_a_model_of_another_task_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/embeddings", json={"input": "a", "model": RERANKER.name})
    assert response.json()["error"]["code"] == "model_not_found"
    assert EMBEDDER.name in response.json()["error"]["message"]


async def test_the_refusal_says_what_is_served_and_how_to_accept_the_name(client: httpx.AsyncClient) -> None:
    message = (await client.post("/v1/embeddings", json={"input": "a", "model": "gpt-5"})).json()["error"]["message"]
    for served in (EMBEDDER.name, RERANKER.name, "api.model_aliases: {gpt-5: embedder}", "api.common_model_names"):
        assert served in message


@pytest.mark.parametrize(("name", "task"), COMMON_NAMES.items())
async def test_the_usual_names_are_accepted_by_one_setting(connect: Connect, name: str, task: str) -> None:
    settings = ApiSettings.from_config(AppConfig(api=ApiConfig(common_model_names=True)))
    assert (await connect(FakeDispatcher(), settings).get(f"/v1/models/{name}")).json()["task"] == task


def test_an_alias_overrides_a_usual_name() -> None:
    config = ApiConfig(common_model_names=True, model_aliases={"bge-m3": "reranker"})
    assert ApiSettings.from_config(AppConfig(api=config)).model_aliases["bge-m3"] == "reranker"
    assert "bge-m3" not in ApiSettings.from_config(AppConfig()).model_aliases


async def test_tei_takes_any_name(client: httpx.AsyncClient) -> None:
    assert (await client.post("/embed", json={"inputs": "a", "model": "gpt-5"})).status_code == 200


@pytest.mark.parametrize("name", [EMBEDDER.name, "fake-embedder", "embedder"])
async def test_one_model(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/v1/models/{name}")).json()["id"] == EMBEDDER.name


async def test_one_model_that_is_not_there(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models/gpt-5")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/v1/models/%0A", "/v1/models%0A", "/healthz%0A"])
async def test_a_newline_at_the_end_of_a_path_is_part_of_it(connect: Connect, path: str) -> None:
    client = connect(FakeDispatcher(), SETTINGS)
    assert (await client.get(path, follow_redirects=True)).status_code == 404
