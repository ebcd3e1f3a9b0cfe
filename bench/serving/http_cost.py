"""CPU time of the HTTP side alone, per request: `python -m bench.serving.http_cost [--profile]`.

Requests go through the whole application as ASGI calls, without a socket and without Ray, to an engine that answers at
once. CPU time is that of this process, the least of several windows, so other programs on the machine hardly matter.
"""

import argparse
import asyncio
import cProfile
import json
import logging
import pstats
import time
from collections.abc import Mapping
from typing import Any

import uvloop
from starlette.types import ASGIApp, Message, Scope

from bench.serving.noop import NoopDispatcher
from trivet.api.app import create_app
from trivet.api.middleware.telemetry import Telemetry
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig

WINDOWS, REQUESTS = 7, 2000

BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": "how do I retry a failed request"},
    "/v1/rerank": {"query": "how do I retry", "documents": ["wait longer", "a grid has rows"]},
    "/v1/relations": {"source": "how do I retry", "candidates": ["wait longer", "a grid has rows"]},
}


class LoggedToNothing(logging.Handler):
    """Formats records as a file handler would, and drops them."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


def scope_of(path: str, body: bytes, headers: Mapping[str, str]) -> Scope:
    """As uvicorn makes it for the raw client of bench/load."""
    named = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body)), **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


async def request(app: ASGIApp, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    """One request, from its scope to the last byte of its answer; RuntimeError unless it is answered with 200."""
    answered = asyncio.Event()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status = 0

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app(scope_of(path, body, headers), receive, send)
    answered.set()
    if status != 200:
        raise RuntimeError(f"{path} was answered with {status}")


async def cpu_us(app: ASGIApp, path: str, headers: Mapping[str, str], profile: cProfile.Profile | None) -> float:
    """Microseconds of CPU per request."""
    body = json.dumps(BODIES[path]).encode()
    best = float("inf")
    for window in range(WINDOWS):
        if profile is not None and window:
            profile.enable()
        started_s = time.process_time()
        for _ in range(REQUESTS):
            await request(app, path, body, headers)
        best = min(best, time.process_time() - started_s)
        if profile is not None:
            profile.disable()
    return best / REQUESTS * 1e6


async def measure(*, profiled: bool) -> None:
    logger = logging.getLogger("trivet")
    logger.addHandler(LoggedToNothing())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    async with NoopDispatcher(AppConfig.model_validate({"device": "cpu"})) as dispatcher:
        settings = ApiSettings.from_config(AppConfig.model_validate({"device": "cpu"}))
        app = create_app(dispatcher, settings, Telemetry())
        for path in BODIES:
            for name, headers in (("computed", {"cache-control": "no-store"}), ("from the cache", {})):
                profile = cProfile.Profile() if profiled else None
                print(f"{path} {name}: {await cpu_us(app, path, headers, profile):.0f} µs", flush=True)
                if profile is not None:
                    pstats.Stats(profile).sort_stats("tottime").print_stats(45)
            if profiled:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="profile the first route instead of timing all")
    uvloop.run(measure(profiled=parser.parse_args().profile))


if __name__ == "__main__":
    main()
