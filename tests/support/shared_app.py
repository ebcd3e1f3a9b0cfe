"""One application for all tests that need none of their own: to build it takes longer than most tests.

It has answered others before. A test of what an application remembers (traffic, keys, readiness) builds a fresh one.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings


class Behind:
    """A dispatcher that stands for another one, which each test brings."""

    def __init__(self) -> None:
        self.dispatcher: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dispatcher, name)


@pytest.fixture(scope="session")
def shared_app() -> tuple[FastAPI, Behind]:
    """To be reached without a socket."""
    behind = Behind()
    return create_app(behind, ApiSettings()), behind


@pytest.fixture(scope="session")
def shared_server(shared_app: tuple[FastAPI, Behind]) -> Iterator[tuple[str, Behind]]:
    """The same on a real port; its URL."""
    app, behind = shared_app
    with served(app) as url:
        yield url, behind
