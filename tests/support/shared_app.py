"""Fixtures of one application that many tests share, because building it takes longer than most tests.

A conftest.py imports them for the tests of its folder. Tests of an application's state (traffic, keys, readiness) build
a new application instead.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, cast

import pytest
from fastapi import FastAPI

from tests.support.dispatcher import FakeDispatcher
from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.messages import (
    DetokenizeRequest,
    DetokenizeResult,
    ModelCard,
    Request,
    ResultT,
    TokenizeRequest,
    TokenizeResult,
)


class Behind:
    """A model server that delegates to the one that each test sets."""

    def __init__(self) -> None:
        self.dispatcher: Any = None

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        return cast("Routed[ResultT]", await self.dispatcher.call(request))

    async def models(self) -> Sequence[ModelCard]:
        return cast("Sequence[ModelCard]", await self.dispatcher.models())

    async def readiness(self) -> Readiness:
        return cast("Readiness", await self.dispatcher.readiness())

    def status(self) -> ServiceStatus:
        return cast("ServiceStatus", self.dispatcher.status())

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        return cast("TokenizeResult", await self.dispatcher.tokenize(request))

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult:
        return cast("DetokenizeResult", await self.dispatcher.detokenize(request))


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


@pytest.fixture(name="dispatcher")
def dispatcher_fixture() -> FakeDispatcher:
    """What answers the requests of one test."""
    return FakeDispatcher()


@pytest.fixture(name="url")
def url_fixture(shared_server: tuple[str, Behind], dispatcher: FakeDispatcher) -> str:
    """The URL of the application, with the test's dispatcher behind it."""
    url, behind = shared_server
    behind.dispatcher = dispatcher
    return url
