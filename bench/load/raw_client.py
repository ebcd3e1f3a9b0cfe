"""A closed-loop load over raw HTTP/1.1 connections: requests are prepared as bytes, and answers are only counted.

An HTTP library in the load generator uses more CPU time than the service that it measures. This generator needs a few
microseconds per request, and reports its CPU time.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np


def post(path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> bytes:
    """Encode one request."""
    content = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: bench",
        "content-type: application/json",
        f"content-length: {len(content)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(slots=True)
class Loop:
    """The result of a closed loop."""

    latencies_s: list[float] = field(default_factory=list)
    """Latencies of answers with status 200, in the order of their arrival."""
    sent: list[int] = field(default_factory=list)
    """The index of each answer's request."""
    other_statuses: dict[int, int] = field(default_factory=dict)
    took_s: float = 0.0
    generator_cpu_s: float = 0.0

    @property
    def requests_per_s(self) -> float:
        """Requests per second that were answered with 200."""
        return len(self.latencies_s) / self.took_s

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latencies_s, percent)) * 1000


class _Connection(asyncio.Protocol):
    """Sends the next request when the previous answer is complete."""

    def __init__(self, requests: "itertools.cycle[tuple[int, bytes]]", until_s: float, loop: Loop) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._until_s = until_s
        self._loop = loop
        self._sent_s = 0.0
        self._index = 0
        self._received = b""
        self._missing = -1
        self._status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._index, request = next(self._requests)
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._received += data
            head_end = self._received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = self._received[:head_end].lower()
            self._status = int(head[9:12])
            at = head.find(b"content-length:")
            if at < 0:
                self.done.set_exception(RuntimeError(f"an answer without content-length: {head!r}"))
                self._transport.close()
                return
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            self._missing = length - (len(self._received) - head_end - 4)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._answered()

    def _answered(self) -> None:
        now_s = time.perf_counter()
        if self._status == 200:
            self._loop.latencies_s.append(now_s - self._sent_s)
            self._loop.sent.append(self._index)
        else:
            self._loop.other_statuses[self._status] = self._loop.other_statuses.get(self._status, 0) + 1
        self._received, self._missing = b"", -1
        if now_s < self._until_s:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


async def run_raw_loop(port: int, requests: Sequence[bytes], *, clients: int, duration_s: float) -> Loop:
    """Send for `duration_s`, then wait for the requests in flight. The list of requests repeats."""
    result = Loop()
    source = itertools.cycle(enumerate(requests))
    running = asyncio.get_running_loop()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    until_s = started_s + duration_s
    opened = [
        await running.create_connection(lambda: _Connection(source, until_s, result), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.gather(*(connection.done for _, connection in opened))
    result.took_s = time.perf_counter() - started_s
    result.generator_cpu_s = time.process_time() - cpu_s
    return result
