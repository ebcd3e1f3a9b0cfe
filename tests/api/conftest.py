"""The real application over a fake dispatcher, reached over HTTP without a socket."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tests.api.fakes import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings

Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
def dispatcher() -> FakeDispatcher:
    return FakeDispatcher()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens a client on an application of its own; every one is closed at the end."""
    clients: list[httpx.AsyncClient] = []

    def open_client(dispatcher: FakeDispatcher, settings: ApiSettings | None = None) -> httpx.AsyncClient:
        app = create_app(dispatcher, settings or ApiSettings())
        # An exception that reached the transport would hide the 500 that a caller sees.
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://trivet")
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(connect: Connect, dispatcher: FakeDispatcher) -> httpx.AsyncClient:
    return connect(dispatcher)
