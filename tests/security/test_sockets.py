"""Every socket that a running service listens on is in the table of docs/security.md, where the table says it is."""

import ipaddress
import re
import time
from pathlib import Path

import grpc
import psutil
import pytest

from deployments.processes import role_of, tree
from tests.security.conftest import Watched

pytestmark = pytest.mark.ray

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
ROW = re.compile(r"^\| ([^|]+) \| (loopback|every interface) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)

Socket = tuple[str, str]
"""A process by its role, and where it listens."""

MODELS = ("embedder", "reranker", "classifier")


def documented() -> dict[Socket, str]:
    """The table: role and place, with the row's port."""
    return {(role.strip(), place): port for role, place, port, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def place_of(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return "loopback" if (mapped or parsed).is_loopback else "every interface"


def role(process: psutil.Process) -> str:
    found = role_of(process.cmdline())
    return "model replica" if found.split("-")[0] in MODELS else found


def listening(root: psutil.Process) -> dict[Socket, list[int]]:
    """Ports by role and place, of all processes that came from one: TCP that listens, UDP that takes from anybody."""
    found: dict[Socket, list[int]] = {}
    for process in tree(root):
        try:
            connections = process.net_connections(kind="inet")
            name = role(process)
        except psutil.NoSuchProcess:
            continue  # a worker that came and went
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN or (connection.status == psutil.CONN_NONE and connection.laddr):
                found.setdefault((name, place_of(connection.laddr.ip)), []).append(connection.laddr.port)
    return found


def listening_as_documented(root: psutil.Process, patience_s: float = 30.0) -> dict[Socket, list[int]]:
    """What listens, once all of the table does, or what did when patience ended.

    HAProxy is another process, and none for a moment, whenever Ray tells it of another ingress replica: a service that
    answers still has that ahead of it. The autoscaler's port is always the same: beside another cluster of this machine
    it has none.
    """
    deadline_s = time.monotonic() + patience_s
    expected = set(documented()) - {("ray autoscaler", "loopback")}
    while not expected <= set(found := listening(root)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return found


def test_every_listening_socket_is_in_the_table(watched: Watched) -> None:
    assert set(listening_as_documented(watched.service.root)) - set(documented()) == set()


def test_the_table_names_nothing_that_is_not_there(watched: Watched) -> None:
    missing = set(documented()) - set(listening_as_documented(watched.service.root))
    assert missing <= {("ray autoscaler", "loopback")}


def test_the_service_itself_listens_on_loopback(watched: Watched) -> None:
    port = int(watched.service.url.rsplit(":", 1)[1])
    found = listening_as_documented(watched.service.root)
    assert {where for where, ports in found.items() if port in ports} == {("haproxy", "loopback")}


def test_what_listens_on_every_interface_asks_for_the_token(watched: Watched) -> None:
    """Ray 2.60 takes pickles there: without the token, whoever reached the port would run code."""
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
