"""One application for all tests that can share it: building it takes longer than most tests.

It has answered other requests before. A test of an application's state (traffic, keys, readiness) builds a new one.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from fastapi import FastAPI

from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.messages import ModelCard, Request, ResultT, TokenizeRequest, TokenizeResult


class Behind:
    """A model server that stands for another one, which each test brings."""

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
