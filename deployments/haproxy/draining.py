"""Lets a service answer what it has accepted before it is stopped.

Ray 2.60's own shutdown kills HAProxy first, and with it every answer that is under way. Told to end by itself, HAProxy
would answer them, but its admin socket falls silent at once, and Ray kills what has not answered three health checks.
So it goes on, refuses whatever is new, and is asked how much is still under way.
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
from trivet.doctor.host_memory import role_of, tree

DRAIN_LIMIT_S = 20.0
_LOOK_EVERY_S = 0.2
_QUIET_LOOKS = 2
"""A request that HAProxy is still reading is nobody's for a moment."""
_ANSWER_LIMIT_S = 5.0

_ADMIN_SOCKET = re.compile(r"^\s*stats socket (\S+)", re.MULTILINE)
_PID = re.compile(r"^Pid: (\d+)$", re.MULTILINE)
_APPLICATION_PREFIX = "http-"
"""How Ray calls the backends of applications."""


@dataclass(frozen=True, slots=True)
class ProxyState:
    """A HAProxy in its own words."""

    pid: int
    under_way: int
    """Requests that an application has and has not answered."""


def drain(service_pid: int, limit_s: float = DRAIN_LIMIT_S) -> bool:
    """Refuse new requests and wait until all open ones have been answered; False where some are not after `limit_s`.

    Without a HAProxy in front there is nobody to tell: True.
    """
    deadline_s = time.monotonic() + limit_s
    quiet_looks = 0
    while quiet_looks < _QUIET_LOOKS:
        if time.monotonic() > deadline_s:
            return False
        quiet_looks = quiet_looks + 1 if _is_quiet(service_pid) else 0
        time.sleep(_LOOK_EVERY_S)
    return True


def state_of(answer: str) -> ProxyState:
    """What HAProxy said to `show info; show stat`. Pure.

    Raises:
        ValueError: it did not say it.
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


def _is_quiet(service_pid: int) -> bool:
    """Tell every HAProxy of the service that it stops; whether none of them has anything under way.

    Where replicas changed a moment ago Ray has started a second one, which has the socket now; the first answers what
    it has and ends.
    """
    try:
        living = dict(_proxies(service_pid))
        asked = [
            _tell(config, f"set map {config.with_name(MAP_FILE_NAME)} {KEY} {STOPPING}")
            for config in set(living.values())
        ]
    except (OSError, ValueError):
        return False  # one takes the place of another just now: the next look is soon
    return {state.pid for state in asked} == living.keys() and not any(state.under_way for state in asked)


def _proxies(service_pid: int) -> Iterator[tuple[int, Path]]:
    """Process ids of the service's HAProxies, and their configurations."""
    try:
        members = tree(psutil.Process(service_pid))
    except psutil.NoSuchProcess:
        return
    for process in members:
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:
            continue  # ended by itself meanwhile
        if role_of(command) == "haproxy":
            yield process.pid, Path(command[command.index("-f") + 1])


def _tell(config: Path, command: str) -> ProxyState:
    """Give a command to the HAProxy that has the admin socket of this configuration; its state after it."""
    found = _ADMIN_SOCKET.search(config.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"no admin socket in {config}")
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(_ANSWER_LIMIT_S)
        admin.connect(found[1])
        admin.sendall(f"{command}; show info; show stat\n".encode())
        return state_of(admin.makefile(encoding="utf-8", newline="").read())
