"""A service that starts and serves connects to no other machine."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deployments.service.host_memory import tree
from tests.security.conftest import RECORDER, Watched
from tests.security.recorder.sitecustomize import LOG_VARIABLE, is_local
from tests.security.test_sockets import place_of

REPORTS = """
import socket
with socket.socket() as tcp:
    tcp.setblocking(False)
    try:
        tcp.connect(("192.0.2.1", 443))
    except OSError:
        pass
try:
    socket.getaddrinfo("telemetry.invalid", 443)
except OSError:
    pass
with socket.socket() as here:
    here.connect_ex(("127.0.0.1", 9))
"""

METADATA = ("169.254.169.254", "metadata.google.internal")
"""Hosts from which Ray's dashboard detects a cloud provider; docs/security.md names them."""


def is_metadata_request(line: str) -> bool:
    """Return whether the dashboard asked for a cloud's metadata."""
    return line.split()[1] in METADATA and "dashboard/dashboard.py" in line


def test_the_documentation_names_the_exceptions() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    assert all(host in page for host in METADATA)


def test_the_recorder_sees_connections_and_look_ups(tmp_path: Path) -> None:
    log = tmp_path / "outbound"
    environment = {**os.environ, "PYTHONPATH": str(RECORDER), LOG_VARIABLE: str(log)}
    subprocess.run([sys.executable, "-c", REPORTS], env=environment, check=True, timeout=60)
    lines = log.read_text().splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["socket.connect", "192.0.2.1", "443"],
        ["socket.getaddrinfo", "telemetry.invalid", "443"],
    ]


HUB = """
from pathlib import Path
from trivet.checkpoint.source import locate_model
from trivet.errors import ModelError
try:
    locate_model("nobody/nothing", "embedder", Path())
except ModelError:
    pass
from huggingface_hub import constants
print(constants.HF_HUB_DISABLE_TELEMETRY)
"""


@pytest.mark.slow
def test_the_hubs_client_sends_no_telemetry(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DO_NOT_TRACK"))}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", HUB], env=environment, check=True, timeout=120, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost", "0.0.0.0", "", None])
def test_this_machine_is_local(host: str | None) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "8.8.8.8", "2001:db8::1", "www.google-analytics.com"])
def test_other_machines_are_not_local(host: str) -> None:
    assert not is_local(host)


@pytest.mark.ray
def test_no_python_process_of_a_service_tries_to_connect_outside(watched: Watched) -> None:
    seen = watched.outbound.read_text().splitlines() if watched.outbound.exists() else []
    assert [line for line in seen if not is_metadata_request(line)] == []


@pytest.mark.ray
def test_no_process_of_a_service_is_connected_outside(watched: Watched) -> None:
    """Including processes that are not Python."""
    outside = []
    for process in tree(watched.service.root):
        try:
            connections = process.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        outside += [c for c in connections if c.raddr and place_of(c.raddr.ip) != "loopback"]
    assert outside == []
