"""Serves the application on a free loopback port and prints its address; run by the client tests.

    python -m tests.clients.server          the starter models, on the CPU
    python -m tests.clients.server --fake   the computing fake of tests/api, which needs no models

Stops when its standard input closes, so that it cannot outlive the tests that started it.
"""

import asyncio
import socket
import sys
from contextlib import AbstractAsyncContextManager, nullcontext

import uvicorn

from tests.api.fakes import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.dispatcher import Dispatcher
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig


def _local_dispatcher() -> AbstractAsyncContextManager[Dispatcher]:
    from trivet.local import LocalDispatcher  # brings the engines along, which the fake does without

    return LocalDispatcher(AppConfig())


async def _serve(*, fake: bool) -> None:
    async with nullcontext(FakeDispatcher()) if fake else _local_dispatcher() as dispatcher:
        app = create_app(dispatcher, ApiSettings.from_config(AppConfig()))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        listener = socket.create_server(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - the parent reads it
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(_serve(fake="--fake" in sys.argv[1:]))
