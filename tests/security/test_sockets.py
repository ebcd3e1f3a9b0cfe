"""The listening sockets of a running service are those in the table of docs/security.md."""

import ipaddress
import re
import time
from pathlib import Path

import grpc
import psutil
import pytest

from deployments.service.host_memory import role_of, tree
from tests.security.conftest import Watched

pytestmark = pytest.mark.ray

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
ROW = re.compile(r"^\| ([^|]+) \| (loopback|every interface) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)

Socket = tuple[str, str]
"""A process's role, and the interface on which it listens."""

MODELS = ("embedder", "reranker", "classifier")


def documented() -> dict[Socket, str]:
    """Parse the table: (role, interface) → port."""
    return {(role.strip(), place): port for role, place, port, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def place_of(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return "loopback" if (mapped or parsed).is_loopback else "every interface"


def role(process: psutil.Process) -> str:
    found = role_of(process.cmdline())
    return "model replica" if found.split("-")[0] in MODELS else found


def listening(root: psutil.Process) -> dict[Socket, list[int]]:
    """Return the ports by role and interface of a process and its descendants: listening TCP, and bound UDP sockets."""
    found: dict[Socket, list[int]] = {}
    for process in tree(root):
        try:
            connections = process.net_connections(kind="inet")
            name = role(process)
        except psutil.NoSuchProcess:
            continue  # a short-lived worker
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN or (connection.status == psutil.CONN_NONE and connection.laddr):
                found.setdefault((name, place_of(connection.laddr.ip)), []).append(connection.laddr.port)
    return found


def listening_as_documented(root: psutil.Process, timeout_s: float = 30.0) -> dict[Socket, list[int]]:
    """Wait until all sockets of the table listen, for at most `timeout_s`, and return those that do.

    Whenever Ray adds an ingress replica, which can happen after the service is ready, a new HAProxy replaces the old
    one. The autoscaler's port is fixed, so it is missing if another cluster on this machine has it.
    """
    deadline_s = time.monotonic() + timeout_s
    expected = set(documented()) - {("ray autoscaler", "loopback")}
    while not expected <= set(found := listening(root)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return found


def test_every_listening_socket_is_in_the_table(watched: Watched) -> None:
    assert set(listening_as_documented(watched.service.root)) - set(documented()) == set()


def test_every_socket_of_the_table_listens(watched: Watched) -> None:
    missing = set(documented()) - set(listening_as_documented(watched.service.root))
    assert missing <= {("ray autoscaler", "loopback")}


def test_the_service_itself_listens_on_loopback(watched: Watched) -> None:
    port = int(watched.service.url.rsplit(":", 1)[1])
    found = listening_as_documented(watched.service.root)
    assert {where for where, ports in found.items() if port in ports} == {("haproxy", "loopback")}


def test_sockets_on_every_interface_require_the_token(watched: Watched) -> None:
    """Ray 2.60 accepts pickles there; without the token, everybody who can reach the port could run code."""
    open_ports = [
        port
        for (_, place), ports in listening_as_documented(watched.service.root).items()
        if place == "every interface"
        for port in ports
    ]
    assert open_ports
    for port in open_ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
