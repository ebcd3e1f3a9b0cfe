"""Where a running service's host memory is: its processes by what they do, and the proportional set size of each.

PSS, not RSS: pages that processes share (libraries, the mapped weights of two replicas of one model) are split between
them, so that the sum is what the machine really gives. Reads `/proc` through psutil; Linux only. Imports no Ray: its
processes are known by their titles.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from trivet.errors import ConfigError

MIB = 1024**2

_SESSION = re.compile(r"session_\d{4}-\d\d-\d\d_[\d_-]+")

_PROGRAMS = {"haproxy": "haproxy", "gcs_server": "ray gcs", "raylet": "raylet"}
_SCRIPTS = (  # the first that is found in the command line; that of the raylet has the agents' in it
    ("log_monitor", "ray log monitor"),
    ("dashboard/dashboard.py", "ray dashboard"),
    ("autoscaler", "ray autoscaler"),
    ("trivet serve", "trivet serve"),
    ("serve run", "serve run"),
    ("deployments.lean", "serve run"),
    ("multiprocessing", "ray dashboard"),  # the resource tracker of its subprocesses
)
_ACTORS = {
    "ray::ServeController": "serve controller",
    "ray::ProxyActor": "serve proxy",
    "ray::HAProxyManager": "haproxy manager",
    "ray::VramActor": "vram-actor",
    "ray::DashboardAgent": "ray dashboard agent",
    "ray::RuntimeEnvAgent": "ray runtime-env agent",
    "ray::IDLE": "ray idle worker",
}


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process of the service."""

    pid: int
    role: str
    """A deployment (`embedder-cpu`, `ingress`, …), or which part of Ray."""
    pss_bytes: int
    rss_bytes: int


def role_of(command: Sequence[str]) -> str:
    """What a process of the service is, by its command line. Pure."""
    title = command[0] if command else ""
    if title.startswith("ray::ServeReplica:"):
        return title.rsplit(":", 1)[-1].split(".", 1)[0]
    for prefix, role in _ACTORS.items():
        if title.startswith(prefix):
            return role
    if title.startswith("ray-dashboard-"):
        return "ray dashboard"
    program = title.rsplit("/", 1)[-1]
    if program in _PROGRAMS:
        return _PROGRAMS[program]
    line = " ".join(command)
    for part, role in _SCRIPTS:
        if part in line:
            return role
    return title.removeprefix("ray::") or "?"


def tree(root: psutil.Process) -> list[psutil.Process]:
    """A process and all that came from it, as far as they live."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def service_behind(port: int) -> list[psutil.Process]:
    """All processes of the service that listens on `port` of this machine.

    Raises:
        ConfigError: nobody listens there, it is not a Ray process, or it belongs to somebody else.
    """
    listener = _listener(port)
    if listener is None:
        raise ConfigError(f"no service of yours listens on port {port} of this machine")
    raylet = next((parent for parent in listener.parents() if "raylet" in parent.name()), None)
    session = _SESSION.search(" ".join(raylet.cmdline())) if raylet is not None else None
    if raylet is None or session is None:
        raise ConfigError(f"the process that listens on port {port} is not one of Ray's")
    found = {process.pid: process for process in tree(raylet)}
    for process in psutil.process_iter():
        if session.group() in " ".join(_command(process)):
            found |= {member.pid: member for member in tree(process)}
    for parent in raylet.parents():  # absent where the cluster was started by `ray start`
        if role_of(_command(parent)) in ("serve run", "trivet serve"):
            found[parent.pid] = parent
    return list(found.values())


def _listener(port: int) -> psutil.Process | None:
    for connection in psutil.net_connections("tcp"):
        listens_here = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
        if listens_here and connection.pid:
            return psutil.Process(connection.pid)
    return None


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # gone, or not ours to read
        return []


def measure(processes: Iterable[psutil.Process]) -> list[ProcessMemory]:
    """Memory of each, the largest first; one that ends meanwhile is left out."""
    measured = []
    for process in processes:
        try:
            command = process.cmdline()
            if not command:
                continue  # a zombie
            memory = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        measured.append(ProcessMemory(process.pid, role_of(command), memory.pss, memory.rss))
    return sorted(measured, key=lambda one: one.pss_bytes, reverse=True)


def by_role(measured: Iterable[ProcessMemory]) -> dict[str, tuple[int, int]]:
    """Role → (number of processes, their PSS in bytes together), the largest first. Pure."""
    sums: dict[str, tuple[int, int]] = {}
    for one in measured:
        count, pss_bytes = sums.get(one.role, (0, 0))
        sums[one.role] = (count + 1, pss_bytes + one.pss_bytes)
    return dict(sorted(sums.items(), key=lambda item: -item[1][1]))
