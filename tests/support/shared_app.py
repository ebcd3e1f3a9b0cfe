"""Fixtures of one application that many tests share, because building it takes longer than most tests.

A conftest.py imports them for the tests of its folder. Tests of an application's state (traffic, keys, readiness) build
a new application instead.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from fastapi import FastAPI

from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings


class Behind:
    """A dispatcher that delegates to the one that each test sets."""

    def __init__(self) -> None:
        self.dispatcher: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dispatcher, name)


@cache
def _application() -> tuple[FastAPI, Behind]:
    """Build the application once per process, although every folder that imports the fixtures has its own."""
    behind = Behind()
    return create_app(behind, ApiSettings()), behind


@pytest.fixture(scope="session", name="shared_app")
def shared_app_fixture() -> tuple[FastAPI, Behind]:
    """The application and its dispatcher, without a socket."""
    return _application()


@pytest.fixture(scope="session", name="shared_server")
def shared_server_fixture() -> Iterator[tuple[str, Behind]]:
    """The URL of the application on a real port, and its dispatcher."""
    app, behind = _application()
    with served(app) as url:
        yield url, behind
