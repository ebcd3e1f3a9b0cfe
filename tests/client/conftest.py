"""Clients over real HTTP."""

from collections.abc import Iterator

import pytest

from tests.api.fakes import FakeDispatcher
from tests.client.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.client import Client


@pytest.fixture
def dispatcher() -> FakeDispatcher:
    return FakeDispatcher()


@pytest.fixture
def url(dispatcher: FakeDispatcher) -> Iterator[str]:
    with served(create_app(dispatcher, ApiSettings())) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client
