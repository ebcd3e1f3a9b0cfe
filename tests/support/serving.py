"""Applications on a real port of this machine, and dispatchers and servers that fail in defined ways."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.support.dispatcher import FakeDispatcher
from trivet.dispatch.protocol import Routed
from trivet.errors import TrivetError
from trivet.messages import EmbedRequest, Request, ResultT

STARTING_S = 30.0


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application until the block ends, and yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline_s = time.monotonic() + STARTING_S
        while not server.started:
            assert time.monotonic() < deadline_s, "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True  # do not wait for answers that no client reads
        thread.join()


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """Yield the URL of a port that is bound but not listening, so that connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class FailsAtFirst(FakeDispatcher):
    """Answers the first embedding requests with the given errors, one each, and all later ones normally."""

    def __init__(self, errors: Sequence[TrivetError]) -> None:
        super().__init__()
        self._errors = list(errors)
        self.asked = 0

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        if isinstance(request, EmbedRequest):
            self.asked += 1
            if self._errors:
                raise self._errors.pop(0)
        return await super().call(request)


class Scripted:
    """Answers every request with the next of the given responses, then repeats the last one; records the requests."""

    def __init__(self, *responses: Response, pause_s: float = 0.0) -> None:
        self._responses = list(responses)
        self._pause_s = pause_s
        self.requests: list[HttpRequest] = []

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    def _answer(self, request: HttpRequest) -> Response:  # not a coroutine: starlette runs it in a thread
        self.requests.append(request)
        time.sleep(self._pause_s)
        return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]


@contextlib.contextmanager
def broken_connections(count: int, upstream: ASGIApp) -> Iterator[str]:
    """Serve `upstream`, but close the connections of the first `count` requests in the middle of the answer."""
    left = count

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        nonlocal left
        if scope["type"] == "http" and left:
            left -= 1
            # The body is shorter than announced, so uvicorn closes the connection and the client has half an answer.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return
        await upstream(scope, receive, send)

    with served(app) as url:
        yield url
