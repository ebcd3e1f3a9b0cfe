"""Callers who do not read their answers: the answer ends, its place is free again, and its memory is bounded."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.support.dispatcher import FakeDispatcher
from tests.support.memory_sink import MemorySink
from trivet.api.app import create_app
from trivet.api.middleware.reading import PATIENCE_S, PIECE_BYTES, ReadingMiddleware
from trivet.api.middleware.telemetry import Telemetry
from trivet.api.scope import ERROR
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig
from trivet.dispatch.concurrency import within
from trivet.metrics import UNREAD_ANSWERS

IDLE_S = 0.02
MANY = 64
GRAPH = {"documents": [{"id": str(number), "text": f"moon sea tides {number}"} for number in range(4)]}
EMBEDDINGS = {"input": [f"text {number}" for number in range(MANY)]}


class Caller:
    """Reads the first `most` messages of an answer, and then no more."""

    def __init__(self, body: bytes = b"", most: int = 1 << 30) -> None:
        self.body = body
        self.most = most
        self.messages: list[Message] = []
        self.waits = asyncio.Event()
        self._asked = False

    async def receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()  # never leaves
        self._asked = True
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if len(self.messages) >= self.most:
            self.waits.set()
            await asyncio.Event().wait()
        self.messages.append(message)

    @property
    def answer(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_whole(self) -> bool:
        return not self.messages[-1].get("more_body", True)


def scope_of(path: str, **headers: str) -> Scope:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("trivet", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip


async def ask(app: ASGIApp, path: str, body: Any, most: int = 1 << 30, **headers: str) -> Caller:
    caller = Caller(json.dumps(body).encode(), most)
    async with asyncio.timeout(5):
        await app(scope_of(path, **headers), caller.receive, caller.send)
    return caller


@pytest.mark.parametrize(
    ("path", "body", "read"),
    [
        pytest.param("/v1/graph", GRAPH, 2, id="graph"),
        pytest.param("/v1/embeddings", EMBEDDINGS, 2, id="stream of embeddings"),
        pytest.param("/v1/embeddings", {"input": ["a"] * 512}, 1, id="large answer"),
    ],
)
async def test_an_answer_that_nobody_reads_is_ended_and_told(
    path: str, body: Any, read: int, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink()
    settings = ApiSettings(max_graphs=1, unread_timeout_s=IDLE_S)
    app = create_app(FakeDispatcher(), settings, Telemetry(sink=sink))
    headers = {} if read == 1 else {"accept": "application/x-ndjson"}
    caplog.set_level(logging.INFO, logger="trivet")
    unread = await ask(app, path, body, read, **headers)
    assert not unread.is_whole
    assert sink.value(UNREAD_ANSWERS, limit="time") == 1
    assert "limits.unread_timeout_s" in caplog.text
    assert [record.error for record in caplog.records if hasattr(record, "http_route")] == ["unread"]  # type: ignore[attr-defined]
    whole = await ask(app, path, body, **headers)
    assert whole.messages[0]["status"] == 200  # a graph: the place of the first one is free
    assert whole.is_whole


async def test_a_large_answer_is_the_same_in_pieces() -> None:
    app = create_app(FakeDispatcher(), ApiSettings())
    caller = await ask(app, "/v1/embeddings", {"input": ["a"] * 512})
    [start, *pieces] = caller.messages
    assert len(pieces) > 2
    assert max(len(piece["body"]) for piece in pieces) <= PIECE_BYTES
    assert len(caller.answer) == int(dict(start["headers"])[b"content-length"])
    assert len(json.loads(caller.answer)["data"]) == 512


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def answering(*sizes: int) -> ASGIApp:
    """Answers with bodies of these sizes, one request after the other."""
    waiting = iter(sizes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * next(waiting)})

    return app


async def test_the_longest_unread_answer_makes_room_for_others(clock: Clock) -> None:
    sink = MemorySink()
    size = 10 * PIECE_BYTES
    app = ReadingMiddleware(
        answering(size, size, size, size), most_idle_s=600, max_unread_bytes=2 * size, sink=sink, clock=clock
    )
    scopes = [scope_of("/") for _ in range(4)]
    callers = [Caller(most=1) for _ in range(4)]
    tasks = []
    for scope, caller in zip(scopes, callers, strict=True):
        tasks.append(asyncio.ensure_future(app(scope, caller.receive, caller.send)))
        await caller.waits.wait()
        clock.now_s += 2 * PATIENCE_S
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks[:2])
    assert [scope.get(ERROR) for scope in scopes] == ["unread", "unread", None, None]
    assert sink.value(UNREAD_ANSWERS, limit="memory") == 2
    for task in tasks[2:]:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_has_just_begun_to_read_is_not_cut_off(clock: Clock) -> None:
    size = 10 * PIECE_BYTES
    app = ReadingMiddleware(answering(size, size), most_idle_s=600, max_unread_bytes=1, sink=MemorySink(), clock=clock)
    waiting, reading = Caller(most=1), Caller()
    task = asyncio.ensure_future(app(scope_of("/"), waiting.receive, waiting.send))
    await waiting.waits.wait()
    await app(scope_of("/"), reading.receive, reading.send)
    assert reading.answer == b"x" * size
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_error_of_the_server_is_no_stalled_reader() -> None:
    async def send(message: Message) -> None:
        raise TimeoutError("the server's own")

    app = ReadingMiddleware(answering(1 << 20), most_idle_s=600, max_unread_bytes=1, sink=MemorySink(), clock=Clock())
    with pytest.raises(TimeoutError, match="own"):
        await app(scope_of("/"), Caller().receive, send)


async def test_a_deadline_of_an_iterator_spares_its_consumer() -> None:
    async def numbers(wait: Callable[[], Awaitable[object]]) -> Any:
        yield 1
        await wait()
        yield 2

    found: list[int] = []

    async def consume(wait: Callable[[], Awaitable[object]]) -> None:
        async for number in within(numbers(wait), 0.01):
            found.append(number)
            await asyncio.sleep(0.02)  # longer than the deadline

    with pytest.raises(TimeoutError):
        await consume(asyncio.Event().wait)
    assert found == [1]


def test_the_limit_comes_from_the_configuration() -> None:
    config = AppConfig.model_validate({"limits": {"unread_timeout_s": 7}})
    assert ApiSettings.from_config(config).unread_timeout_s == 7
