"""Connections of callers without a key: idle, slow, half-sent, with invented methods. A caller with a key goes on."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.hostile.conftest import MIB, Guarded, calling, grown, within

pytestmark = [pytest.mark.hostile, pytest.mark.ray, pytest.mark.slow]

ALLOWED_GROWTH = 300 * MIB


@contextmanager
def connections(guarded: Guarded, count: int, opening: bytes) -> Iterator[list[socket.socket]]:
    """Many connections that have sent the same beginning and then nothing."""
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.create_connection(guarded.address, timeout=10)
            opened.append(connection)
            try:
                connection.sendall(opening)
            except OSError:  # refused already, which is one of the ways to be safe
                continue
        yield opened
    finally:
        for connection in opened:
            connection.close()


BODY = b"x" * 250_000
BEGUN = (
    b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 300000\r\n\r\n"
    + BODY
)


@pytest.mark.parametrize(
    ("count", "opening"),
    [
        pytest.param(1100, b"", id="idle"),
        pytest.param(1100, b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-slow: ", id="slow headers"),
        pytest.param(1000, BEGUN, id="half-sent bodies"),
    ],
)
def test_connections_without_a_key_keep_nobody_out(guarded: Guarded, count: int, opening: bytes) -> None:
    before = guarded.rss_by_role()
    with calling(guarded) as caller, connections(guarded, count, opening):
        time.sleep(8)
    assert caller.failures == []
    assert len(caller.latencies_s) > 20
    assert caller.p99_s <= 1.0
    assert grown(before, guarded.rss_by_role(), ALLOWED_GROWTH) == {}


def test_a_connection_without_a_request_is_closed(guarded: Guarded) -> None:
    with connections(guarded, 1, b"POST /v1/embeddings HTTP/1.1\r\nx-slow: ") as [connection]:
        connection.settimeout(30)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_body_without_a_key_is_not_waited_for(guarded: Guarded) -> None:
    with connections(guarded, 1, BEGUN) as [connection]:
        connection.settimeout(5)
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_invented_methods_become_no_metric(guarded: Guarded) -> None:
    with httpx.Client(base_url=guarded.service.url) as client:
        statuses = {client.request(f"METHOD{number}", "/v1/embeddings").status_code for number in range(300)}
    assert statuses == {405}
    [agent] = guarded.service.processes("ray dashboard agent")[:1]
    ports = {connection.laddr.port for connection in agent.net_connections("tcp") if connection.status == "LISTEN"}

    def scraped() -> str:
        for port in ports:
            try:
                text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
            except httpx.HTTPError:
                continue
            if "ray_" in text:
                return text
        return ""

    assert within(40, lambda: "serve_num_http_requests" in scraped())
    time.sleep(12)  # one more report of Ray's
    text = scraped()
    assert "METHOD1" not in text
    assert text.count("\n") < 20_000
