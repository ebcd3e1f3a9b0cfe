"""Clients over real HTTP."""

from collections.abc import Iterator

import pytest

from tests.support.dispatcher import FakeDispatcher
from tests.support.shared_app import Behind
from tests.support.shared_app import shared_server_fixture as shared_server_fixture
from trivet.client import Client


@pytest.fixture
def dispatcher() -> FakeDispatcher:
    return FakeDispatcher()


@pytest.fixture
def url(shared_server: tuple[str, Behind], dispatcher: FakeDispatcher) -> str:
    url, behind = shared_server
    behind.dispatcher = dispatcher
    return url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client
