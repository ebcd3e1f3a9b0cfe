"""Proxies in the environment do not apply to this machine's loopback, and apply to every other host."""

import socket
import threading
from collections.abc import Iterator

import pytest

from trivet.client import AsyncClient, Client
from trivet.client.errors import ClientError
from trivet.client.retries import Retries


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What a proxy that the environment names receives; it answers nothing."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    received.append(connection.recv(10_000))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, address)
            monkeypatch.setenv(name.upper(), address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield received
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


ONCE = Retries(attempts=1)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.3.2.1", "trivet.localhost"])
def test_neither_key_nor_text_for_this_machine_goes_to_a_proxy(proxied: list[bytes], host: str) -> None:
    with Client(f"http://{host}:9", key="tvt_secret", retries=ONCE, timeout_s=5) as client, pytest.raises(ClientError):
        client.embed(["a secret"])
    assert proxied == []


async def test_nor_from_the_client_for_asyncio(proxied: list[bytes]) -> None:
    async with AsyncClient("http://127.0.0.1:9", key="tvt_secret", retries=ONCE, timeout_s=5) as client:
        with pytest.raises(ClientError):
            await client.embed(["a secret"])
    assert proxied == []


def test_other_hosts_are_reached_through_the_proxy(proxied: list[bytes]) -> None:
    with Client("http://example.com", retries=ONCE, timeout_s=5) as client, pytest.raises(ClientError):
        client.embed(["a text"])
    assert b"example.com" in proxied[0]
