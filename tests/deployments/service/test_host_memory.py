"""Roles and memory of a service's processes, and the errors if there is no service."""

import os
import subprocess
import sys

import psutil
import pytest

from bench.support.ports import free_port
from deployments.service.host_memory import ProcessMemory, by_role, measure, role_of, service_behind, tree
from trivet.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["ray::ServeReplica:trivet:embedder-cpu"], "embedder-cpu"),
        (["ray::ServeReplica:trivet:ingress"], "ingress"),
        (["ray::ServeReplica:trivet:reranker.run"], "reranker"),
        (["ray::SERVE_REPLICA::trivet#ingress#vec44nx7:ServeReplica:trivet:ingress.__init__"], "ingress"),
        (["ray::ServeController"], "serve controller"),
        (["ray::ProxyActor.serving"], "serve proxy"),
        (["ray::VramActor.next_snapshot"], "vram-actor"),
        (["ray::SomethingNew"], "SomethingNew"),
        (["/venv/ray/core/src/ray/gcs/gcs_server", "--log_dir=/tmp/ray/session_x/logs"], "ray gcs"),
        (["/venv/ray/core/src/ray/raylet/raylet", "--agent=python ray/dashboard/agent.py"], "raylet"),
        (["/usr/bin/python", "-u", "/venv/ray/_private/log_monitor.py"], "ray log monitor"),
        (["ray-dashboard-NodeHead-0 (python"], "ray dashboard"),
        (["/usr/bin/python", "/venv/bin/serve run", "config.yaml"], "serve run"),
        ([], "?"),
    ],
)
def test_roles(command: list[str], role: str) -> None:
    assert role_of(command) == role


def test_memory_is_summed_by_role_largest_first() -> None:
    measured = [ProcessMemory(1, "a", 10, 99), ProcessMemory(2, "b", 30, 99), ProcessMemory(3, "a", 40, 99)]
    assert list(by_role(measured).items()) == [("a", (2, 50)), ("b", (1, 30))]


def test_a_tree_is_measured_without_its_dead_processes() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        family = tree(psutil.Process(os.getpid()))
        assert child.pid in {process.pid for process in family}
        assert child.pid in {one.pid for one in measure(family) if 0 < one.pss_bytes <= one.rss_bytes}
        child.kill()
        child.wait()
        assert child.pid not in {one.pid for one in measure(family)}


def test_a_port_without_a_listener_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no process of this user listens"):
        service_behind(free_port())


def test_a_listener_that_is_not_rays_is_an_error() -> None:
    serving = [sys.executable, "-c", _LISTENER]
    with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with pytest.raises(ConfigError, match="not one of Ray's"):
            service_behind(port)
        child.kill()


_LISTENER = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
    server.accept()
"""
