"""docs/integrations.md: its URLs are served, its files parse, and what those programs send is answered.

`make test-clients` runs the page's Python examples. Programs that are no libraries are represented by their requests.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.support.shared_app import application
from trivet.api.scope import TASK_PREFIXES
from trivet.api.settings import ApiSettings

TEXT = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
URLS = sorted(set(re.findall(rf"{ADDRESS}[\w/.-]*", TEXT)))
BASE_PATHS = {"", "/v1", *TASK_PREFIXES}

TEXTS = ["red fox", "grey wolf"]
RERANK: dict[str, Any] = {"model": "reranker", "query": "red fox", "documents": TEXTS}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_a_base_or_a_route(url: str) -> None:
    paths = application(ApiSettings())[0].openapi()["paths"]
    assert urlsplit(url).path in {*BASE_PATHS, *paths}


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
def test_yaml_parses(block: str) -> None:
    [(_, entries)] = yaml.safe_load(block).items()
    assert len(entries) == 2


@pytest.mark.parametrize("block", re.findall(r"^```dotenv\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
def test_each_line_of_an_environment_sets_a_variable(block: str) -> None:
    assert all(re.fullmatch(r"[A-Z_]+=\S+", line) for line in block.splitlines())


async def test_open_webui(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/embeddings", json={"input": TEXTS, "model": "embedder"})
    assert [len(item["embedding"]) > 0 for item in answer.json()["data"]] == [True, True]
    # It puts the scores back into the order of the documents, so it needs all of them.
    answer = await client.post("/v1/rerank", json={**RERANK, "top_n": len(TEXTS)})
    assert sorted(result["index"] for result in answer.json()["results"]) == [0, 1]


async def test_lightrag_as_jina(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/rerank", json={**RERANK, "top_n": 1, "return_documents": False})
    assert [set(result) >= {"index", "relevance_score"} for result in answer.json()["results"]] == [True]


@pytest.mark.parametrize("base", ["", "/embedder"])
async def test_continue_embeds(client: httpx.AsyncClient, base: str) -> None:
    info = (await client.get(f"{base}/info")).json()
    assert isinstance(info["model_id"], str)
    assert info["max_client_batch_size"] >= len(TEXTS)
    answer = await client.post(f"{base}/embed", json={"inputs": TEXTS})
    assert len(answer.json()) == len(TEXTS)


@pytest.mark.parametrize("base", ["", "/reranker"])
async def test_continue_reranks(client: httpx.AsyncClient, base: str) -> None:
    body = {"query": "red fox", "texts": TEXTS, "truncate": True, "return_text": False, "raw_scores": False}
    answer = await client.post(f"{base}/rerank", json=body)
    assert sorted(ranked["index"] for ranked in answer.json()) == [0, 1]


@pytest.mark.parametrize(("base", "kind"), [("/embedder", "embedding"), ("/reranker", "reranker")])
async def test_dify_recognises_each_model(client: httpx.AsyncClient, base: str, kind: str) -> None:
    info = (await client.get(f"{base}/info")).json()
    assert list(info["model_type"]) == [kind]
    answer = await client.post(f"{base}/tokenize", json={"inputs": TEXTS})
    assert len(answer.json()) == len(TEXTS)
