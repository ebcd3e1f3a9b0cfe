"""Finds the processes of a running service, with the role and the host memory of each.

Memory is the proportional set size (PSS), not RSS: pages that processes share (libraries, the mapped weights of two
replicas of one model) are divided among them, so the sum is the memory that the service actually uses. Reads `/proc`
through psutil, so it works only on Linux. Imports no ray: it recognises Ray's processes by their titles.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from trivet.errors import ConfigError

_SESSION = re.compile(r"session_\d{4}-\d\d-\d\d_[\d_-]+")

_PROGRAMS = {"haproxy": "haproxy", "gcs_server": "ray gcs", "raylet": "raylet"}
_SCRIPTS = (  # the first match in the command line counts; the raylet's command line contains those of its agents
    ("log_monitor", "ray log monitor"),
    ("dashboard/dashboard.py", "ray dashboard"),
    ("autoscaler", "ray autoscaler"),
    ("trivet serve", "trivet serve"),
    ("serve run", "serve run"),
    ("deployments.run", "serve run"),
    ("multiprocessing", "ray dashboard"),  # the resource tracker of the dashboard's subprocesses
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
    """The memory of one process of the service."""

    pid: int
    role: str
    """A deployment (`embedder-cpu`, `ingress`, …), or a component of Ray."""
    pss_bytes: int
    rss_bytes: int


def role_of(command: Sequence[str]) -> str:
    """Derive the role of a service's process from its command line. Pure."""
    title = command[0] if command else ""
    if "ServeReplica:" in title:  # while a method runs the title has the actor's name before it
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
    """Return a process and its descendants that are alive."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def service_behind(port: int) -> list[psutil.Process]:
    """Return all processes of the service that listens on `port` of this machine.

    Raises:
        ConfigError: no process of this user listens on the port, or the one that does is not one of Ray's.
    """
    listener = _listener(port)
    if listener is None:
        raise ConfigError(f"no process of this user listens on port {port}; start the service, or name its config file")
    raylet = next((parent for parent in listener.parents() if "raylet" in parent.name()), None)
    session = _SESSION.search(" ".join(raylet.cmdline())) if raylet is not None else None
    if raylet is None or session is None:
        raise ConfigError(
            f"the process that listens on port {port} (PID {listener.pid}) is not one of Ray's; "
            "name the config file of the service"
        )
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
    except psutil.Error:  # gone, or unreadable
        return []


def measure(processes: Iterable[psutil.Process]) -> list[ProcessMemory]:
    """Measure the memory of each process, the largest first; omit those that have ended."""
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
    """Sum by role: role → (number of processes, total PSS in bytes), the largest first. Pure."""
    sums: dict[str, tuple[int, int]] = {}
    for one in measured:
        count, pss_bytes = sums.get(one.role, (0, 0))
        sums[one.role] = (count + 1, pss_bytes + one.pss_bytes)
    return dict(sorted(sums.items(), key=lambda item: -item[1][1]))
