"""The real application over a fake dispatcher, reached over HTTP without a socket."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.dispatcher import FakeDispatcher
from tests.support.shared_app import Behind, application
from tests.support.shared_app import shared_app_fixture as shared_app_fixture
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings

Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
def dispatcher() -> FakeDispatcher:
    return FakeDispatcher()


@pytest.fixture
def connect() -> Connect:
    """Opens a client on an application that all tests with the same settings share."""

    def open_client(dispatcher: FakeDispatcher, settings: ApiSettings | None = None) -> httpx.AsyncClient:
        app, behind = application(settings or ApiSettings())

        async def with_dispatcher(scope: Scope, receive: Receive, send: Send) -> None:
            behind.dispatcher = dispatcher
            await app(scope, receive, send)

        return client_of(with_dispatcher)

    return open_client


@pytest.fixture
def connect_new() -> Connect:
    """Opens a client on a new application, for tests of its state: traffic, keys, readiness, results."""

    def open_client(dispatcher: FakeDispatcher, settings: ApiSettings | None = None) -> httpx.AsyncClient:
        return client_of(create_app(dispatcher, settings or ApiSettings()))

    return open_client


@pytest.fixture
async def client(shared_app: tuple[FastAPI, Behind], dispatcher: FakeDispatcher) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the shared application with the default settings."""
    app, behind = shared_app
    behind.dispatcher = dispatcher
    async with client_of(app) as client:
        yield client


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    # An exception that reached the transport would hide the 500 that a caller sees.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://trivet")
