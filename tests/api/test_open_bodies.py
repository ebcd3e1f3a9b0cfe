"""The bodies of all open requests together are bounded; a request that is alone always gets in."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.gated import GatedDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig

BODY = {"input": "x" * 200}


@pytest.fixture
def inner() -> GatedDispatcher:
    return GatedDispatcher()


@pytest.fixture
async def client(inner: GatedDispatcher) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(inner, ApiSettings(max_open_bodies_bytes=300))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client:
        yield client


async def test_beyond_it_is_429_until_the_first_has_ended(client: httpx.AsyncClient, inner: GatedDispatcher) -> None:
    first = asyncio.ensure_future(client.post("/v1/embeddings", json=BODY))
    await inner.entered.wait()
    refused = await client.post("/v1/embeddings", json=BODY)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["code"] == "overloaded"
    inner.gate.set()
    assert (await first).status_code == 200
    assert (await client.post("/v1/embeddings", json=BODY)).status_code == 200


async def test_a_request_that_is_alone_may_hold_more(client: httpx.AsyncClient, inner: GatedDispatcher) -> None:
    inner.gate.set()
    assert (await client.post("/v1/embeddings", json={"input": "x" * 1000})).status_code == 200


async def test_bytes_of_cancelled_and_refused_requests_no_longer_count(
    client: httpx.AsyncClient, inner: GatedDispatcher
) -> None:
    leaving = asyncio.ensure_future(client.post("/v1/embeddings", json=BODY))
    await inner.entered.wait()
    assert (await client.post("/v1/embeddings", json=BODY)).status_code == 429
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    inner.gate.set()
    answers = [await client.post("/v1/embeddings", json=BODY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3


def test_the_limit_comes_from_the_configuration() -> None:
    config = AppConfig.model_validate({"limits": {"max_open_bodies": "1MiB"}})
    assert ApiSettings.from_config(config).max_open_bodies_bytes == 1024**2
