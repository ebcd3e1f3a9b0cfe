"""Draining a real HAProxy, with a configuration from `trivet-haproxy` and an application that can hold its answers."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from bench.support.ports import free_port
from deployments.haproxy.draining import ProxyState, drain, state_of

CONFIGURATION = """global
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retry-on conn-failure empty-response
    option idle-close-on-response
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend http-trivet
backend http-trivet
    server one 127.0.0.1:{application_port}
"""


PARENT = """
import json, subprocess, sys
started = []
for line in sys.stdin:
    started.append(subprocess.Popen(json.loads(line)))
    print(started[-1].pid, flush=True)
"""


@dataclass(slots=True)
class Service:
    """HAProxies that one parent process has started."""

    folder: Path
    url: str
    has_request: threading.Event
    may_answer: threading.Event
    parent: "subprocess.Popen[str]"
    started: list[psutil.Process]

    def start_haproxy(self, *arguments: str) -> None:
        program = Path(sys.executable).with_name("trivet-haproxy")
        command = [str(program), "-db", "-f", str(self.folder / "haproxy.cfg"), *arguments]
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(json.dumps(command) + "\n")
        self.parent.stdin.flush()
        self.started.append(psutil.Process(int(self.parent.stdout.readline())))
        until(self._owns_the_socket)

    def replace_haproxy(self) -> None:
        """Start another HAProxy that takes over, as Ray does when replicas change."""
        self.start_haproxy("-sf", str(self.started[-1].pid), "-x", str(self.folder / "admin.sock"))

    def drain(self, limit_s: float = 20.0) -> bool:
        return drain(self.parent.pid, limit_s)

    def _owns_the_socket(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(self.folder / "admin.sock"))
                admin.sendall(b"show info\n")
                return f"Pid: {self.started[-1].pid}\n" in admin.makefile().read()
        except OSError:
            return False  # no HAProxy listens yet, or the previous one has just closed the socket


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    has_request, may_answer = threading.Event(), threading.Event()

    class Application(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/slow":
                has_request.set()
                may_answer.wait(20)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    application = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    application.daemon_threads = True
    threading.Thread(target=application.serve_forever, daemon=True).start()
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(
        CONFIGURATION.format(folder=tmp_path, port=port, application_port=application.server_port)
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    running = Service(tmp_path, f"http://127.0.0.1:{port}", has_request, may_answer, parent, [])
    try:
        running.start_haproxy()
        yield running
    finally:
        may_answer.set()
        for one in running.started:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        parent.kill()
        parent.communicate()
        application.shutdown()
        application.server_close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def held_request(service: Service, pool: ThreadPoolExecutor) -> "Future[httpx.Response]":
    """Send a request that the application receives, but does not answer until `may_answer`."""
    answer = pool.submit(httpx.get, f"{service.url}/slow", timeout=30)
    assert service.has_request.wait(20)
    return answer


def assert_waiting(drained: "Future[bool]") -> None:
    """Assert that draining is still waiting after several polls."""
    with pytest.raises(TimeoutError):
        drained.result(1.0)


@pytest.mark.slow
def test_open_requests_are_finished_and_new_ones_are_refused(service: Service, pool: ThreadPoolExecutor) -> None:
    with httpx.Client() as kept:
        assert kept.get(service.url).status_code == 200
        accepted = held_request(service, pool)
        drained = pool.submit(service.drain)
        until(lambda: kept.get(service.url).status_code == 503)
        refused = httpx.get(service.url)
        assert refused.headers["retry-after"] == "10"
        assert refused.headers["connection"] == "close"
        assert refused.json()["error"]["code"] == "stopping"
        assert_waiting(drained)
        service.may_answer.set()
        assert accepted.result().status_code == 200
        assert accepted.result().headers["connection"] == "close"
        assert drained.result() is True


@pytest.mark.slow
def test_draining_waits_for_a_haproxy_that_was_replaced(service: Service, pool: ThreadPoolExecutor) -> None:
    accepted = held_request(service, pool)
    service.replace_haproxy()
    drained = pool.submit(service.drain)
    until(lambda: httpx.get(service.url).status_code == 503)
    assert_waiting(drained)
    service.may_answer.set()
    assert accepted.result().status_code == 200
    assert drained.result() is True


@pytest.mark.slow
def test_a_haproxy_started_while_draining_refuses_new_requests_too(service: Service, pool: ThreadPoolExecutor) -> None:
    accepted = held_request(service, pool)
    drained = pool.submit(service.drain)
    until(lambda: httpx.get(service.url).status_code == 503)
    service.replace_haproxy()
    until(lambda: httpx.get(service.url).status_code == 503)
    assert_waiting(drained)
    service.may_answer.set()
    assert accepted.result().status_code == 200
    assert drained.result() is True


@pytest.mark.slow
def test_draining_returns_false_if_a_request_is_still_open(service: Service, pool: ThreadPoolExecutor) -> None:
    accepted = held_request(service, pool)
    assert service.drain(limit_s=0.5) is False
    service.may_answer.set()
    assert accepted.result().status_code == 200


def test_a_service_without_haproxy_is_drained_immediately() -> None:
    with subprocess.Popen(["sleep", "60"]) as service:
        assert drain(service.pid, limit_s=5) is True
        service.kill()


def test_only_requests_of_applications_are_counted() -> None:
    header = "# pxname,svname,qcur,qmax,scur"
    rows = ["http_frontend,FRONTEND,,,9", "http-a,one,0,0,2", "http-a,BACKEND,0,0,2", "http-b,BACKEND,0,0,3"]
    answer = "\n".join(["Name: HAProxy", "Pid: 71", "", header, *rows, "stats,BACKEND,0,0,5", ""])
    assert state_of(answer) == ProxyState(pid=71, in_flight=5)


@pytest.mark.parametrize("answer", ["", "Pid: 7\n", "# pxname,svname,scur\n", "Unknown command\n"])
def test_an_invalid_answer_does_not_count_as_idle(answer: str) -> None:
    with pytest.raises(ValueError, match="not the state"):
        state_of(answer)
