"""Lets a service finish its open requests before it is stopped.

Ray 2.60's shutdown kills HAProxy first, and with it all requests in flight. HAProxy's own soft stop would finish them,
but it closes the admin socket immediately, and Ray kills a HAProxy that misses three health checks. So HAProxy keeps
running, refuses new requests, and is polled for the number of requests in flight.
"""

import csv
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.haproxy.state import KEY, MAP_FILE_NAME, STOPPING
from deployments.service.host_memory import role_of, tree

_POLL_S = 0.2
_IDLE_POLLS = 2
"""Consecutive idle polls required: a request that HAProxy is still reading counts for no backend yet."""
_SOCKET_TIMEOUT_S = 5.0

_ADMIN_SOCKET = re.compile(r"^\s*stats socket (\S+)", re.MULTILINE)
_PID = re.compile(r"^Pid: (\d+)$", re.MULTILINE)
_APPLICATION_PREFIX = "http-"
"""Prefix of the names that Ray gives to the backends of applications."""


@dataclass(frozen=True, slots=True)
class ProxyState:
    """The state that one HAProxy process reports."""

    pid: int
    in_flight: int
    """Requests that an application has received and not answered yet."""


def drain(service_pid: int, limit_s: float) -> bool:
    """Refuse new requests and wait for the open ones; return False if some are still open after `limit_s`.

    Returns True immediately if the service has no HAProxy.
    """
    deadline_s = time.monotonic() + limit_s
    idle_polls = 0
    while idle_polls < _IDLE_POLLS:
        if time.monotonic() > deadline_s:
            return False
        idle_polls = idle_polls + 1 if _is_idle(service_pid) else 0
        time.sleep(_POLL_S)
    return True


def state_of(answer: str) -> ProxyState:
    """Parse HAProxy's answer to `show info; show stat`. Pure.

    Raises:
        ValueError: the answer has no PID or no table.
    """
    pid = _PID.search(answer)
    table = answer.find("# pxname,")
    if pid is None or table < 0:
        raise ValueError(f"not the state of a HAProxy: {answer[:200]!r}")
    rows = csv.DictReader(answer[table:].removeprefix("# ").splitlines())
    open_requests = (
        int(row["scur"]) for row in rows if row["svname"] == "BACKEND" and row["pxname"].startswith(_APPLICATION_PREFIX)
    )
    return ProxyState(int(pid[1]), sum(open_requests))


def _is_idle(service_pid: int) -> bool:
    """Make every HAProxy of the service refuse new requests; return whether none of them has a request in flight.

    If replicas have just changed, Ray has started a second HAProxy, which has taken over the socket, and the first one
    finishes its requests and exits.
    """
    try:
        living = dict(_proxies(service_pid))
        states = [
            _command(config, f"set map {config.with_name(MAP_FILE_NAME)} {KEY} {STOPPING}")
            for config in set(living.values())
        ]
    except (OSError, ValueError):
        return False  # one HAProxy is just replacing another; the next poll follows soon
    return {state.pid for state in states} == living.keys() and not any(state.in_flight for state in states)


def _proxies(service_pid: int) -> Iterator[tuple[int, Path]]:
    """Yield the PIDs of the service's HAProxies, and the paths of their configurations."""
    try:
        members = tree(psutil.Process(service_pid))
    except psutil.NoSuchProcess:
        return
    for process in members:
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:
            continue  # has exited in the meantime
        if role_of(command) == "haproxy":
            yield process.pid, Path(command[command.index("-f") + 1])


def _command(config: Path, command: str) -> ProxyState:
    """Send a command to the HAProxy that owns the admin socket of this configuration; return its state afterwards."""
    found = _ADMIN_SOCKET.search(config.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"no admin socket in {config}")
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(_SOCKET_TIMEOUT_S)
        admin.connect(found[1])
        admin.sendall(f"{command}; show info; show stat\n".encode())
        return state_of(admin.makefile(encoding="utf-8", newline="").read())
