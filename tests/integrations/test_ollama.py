"""Ollama's own client."""

import ollama
import pytest

from tests.integrations.texts import BEST, EMBEDDER, PASSAGES, QUERY

pytestmark = pytest.mark.clients


def test_embed(base_url: str) -> None:
    client = ollama.Client(host=base_url)
    passages = client.embed(model=EMBEDDER, input=PASSAGES).embeddings
    [query] = client.embed(model=EMBEDDER, input=QUERY).embeddings
    scores = [sum(a * b for a, b in zip(query, passage, strict=True)) for passage in passages]
    assert scores.index(max(scores)) == BEST
    assert client.embed(model=EMBEDDER, input=[]).embeddings == []


def test_embeddings(base_url: str) -> None:
    client = ollama.Client(host=base_url)
    assert len(client.embeddings(model=f"{EMBEDDER}:latest", prompt=QUERY).embedding) == 384


def test_the_models(base_url: str) -> None:
    client = ollama.Client(host=base_url)
    [listed] = client.list().models
    assert listed.model
    assert client.show(listed.model).capabilities == ["embedding"]


def test_errors_are_the_clients_own(base_url: str) -> None:
    client = ollama.Client(host=base_url)
    with pytest.raises(ollama.ResponseError, match="not served here") as unknown:
        client.embed(model="nobody-has", input="x")
    assert unknown.value.status_code == 404
