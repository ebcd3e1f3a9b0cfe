"""Clients over real HTTP."""

from collections.abc import Iterator

import pytest

from tests.support.shared_app import dispatcher_fixture as dispatcher_fixture
from tests.support.shared_app import shared_server_fixture as shared_server_fixture
from tests.support.shared_app import url_fixture as url_fixture
from trivet.client import Client


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client
