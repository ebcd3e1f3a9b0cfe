"""Applications that many tests share, because building one takes longer than most tests.

A conftest.py imports the fixtures for the tests of its folder. Tests of an application's state (traffic, keys,
readiness) build a new application instead.
"""

from collections.abc import Iterator, Sequence
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


_BUILT: list[tuple[ApiSettings, FastAPI, Behind]] = []
"""One application for each of the settings, per process; settings have no hash."""


def application(settings: ApiSettings) -> tuple[FastAPI, Behind]:
    """Return the application of this process with these settings, and the model server behind it."""
    for known, app, behind in _BUILT:
        if known == settings:
            return app, behind
    behind = Behind()
    app = create_app(behind, settings)
    _BUILT.append((settings, app, behind))
    return app, behind


@pytest.fixture(scope="session", name="shared_app")
def shared_app_fixture() -> tuple[FastAPI, Behind]:
    """The application and its dispatcher, without a socket."""
    return application(ApiSettings())


@pytest.fixture(scope="session", name="shared_server")
def shared_server_fixture() -> Iterator[tuple[str, Behind]]:
    """The URL of the application on a real port, and its dispatcher."""
    app, behind = application(ApiSettings())
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
