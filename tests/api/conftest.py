"""The real application over a fake dispatcher, reached over HTTP without a socket."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI

from tests.support.dispatcher import FakeDispatcher
from tests.support.shared_app import Behind
from tests.support.shared_app import shared_app_fixture as shared_app_fixture
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings

Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
def dispatcher() -> FakeDispatcher:
    return FakeDispatcher()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens a client on a new application; every client is closed at the end."""
    clients: list[httpx.AsyncClient] = []

    def open_client(dispatcher: FakeDispatcher, settings: ApiSettings | None = None) -> httpx.AsyncClient:
        client = client_of(create_app(dispatcher, settings or ApiSettings()))
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        await client.aclose()


@pytest.fixture
async def client(shared_app: tuple[FastAPI, Behind], dispatcher: FakeDispatcher) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the shared application; `connect` opens one on a new application."""
    app, behind = shared_app
    behind.dispatcher = dispatcher
    async with client_of(app) as client:
        yield client


def client_of(app: FastAPI) -> httpx.AsyncClient:
    # An exception that reached the transport would hide the 500 that a caller sees.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://trivet")
