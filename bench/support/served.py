"""Starts Trivet as users do: `trivet serve` with the shipped file and variables, in a separate process, on free ports.

`bench.support.service` starts the application inside the measuring process. Here nothing is shared with that process,
so parts of the service can be killed and all of its processes can be counted.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from bench.support.ports import free_port
from bench.support.servers import this_python
from deployments.service.host_memory import ProcessMemory, measure, role_of, tree

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 180.0
_PR_SET_PDEATHSIG = 1
STOP_LIMIT_S = 90.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running service."""

    url: str
    root: psutil.Process
    """`trivet serve`, the ancestor of all other processes."""
    log: Path

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the live processes of one role (see `deployments.service.host_memory.role_of`)."""
        found = []
        for process in tree(self.root):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE and role_of(process.cmdline()) == role:
                    found.append(process)
        return found

    def memory(self) -> list[ProcessMemory]:
        """Measure every process of the service."""
        return measure(tree(self.root))

    def pss_bytes(self) -> int:
        """Return the total PSS of the service."""
        return sum(one.pss_bytes for one in self.memory())

    def wait_ready(self, limit_s: float = START_LIMIT_S) -> dict[str, Any]:
        """Wait until every lane of every model is ready, and return the answer of /readyz.

        Raises:
            RuntimeError: the service ended, or was not ready in time; the message has the last lines of its output.
        """
        until_s = time.monotonic() + limit_s
        state: object = "no answer"
        while time.monotonic() < until_s and self.root.is_running() and self.root.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = httpx.get(f"{self.url}/readyz", timeout=10)
                state = answer.json()
                if answer.status_code == 200 and state.get("status") == "ready":  # type: ignore[attr-defined]
                    return state  # type: ignore[return-value]
            time.sleep(0.25)
        raise RuntimeError(f"not ready after {limit_s:g} s: {state}; {self.log.read_text(errors='replace')[-2000:]}")


def serve_file(args: Mapping[str, Any], port: int) -> dict[str, Any]:
    """Return the shipped configuration with other arguments and another port."""
    file: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    file["http_options"]["port"] = port
    file["applications"][0]["args"] = dict(args)
    return file


@contextlib.contextmanager
def served(args: Mapping[str, Any], *, lean: bool = False, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Start a service with these `args`, wait until it is ready, and stop it at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="trivet-"))
    port = free_port()
    file = folder / "serve_config.yaml"
    file.write_text(yaml.safe_dump(serve_file(args, port)), encoding="utf-8")
    log = folder / "log"
    command = [str(this_python().with_name("trivet")), "serve", str(file)]
    if lean:
        command.append("--lean")
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # Ctrl-C here stops the measurement, which stops the service
            preexec_fn=_end_with_parent,
        )
    running = Served(f"http://127.0.0.1:{port}", psutil.Process(child.pid), log)
    try:
        running.wait_ready()
        yield running
    finally:
        _stop(child, running)
        shutil.rmtree(folder, ignore_errors=True)


def _end_with_parent() -> None:
    """Let the kernel send SIGTERM to the service if the measurement is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(child: "subprocess.Popen[bytes]", running: Served) -> None:
    members = tree(running.root)
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    _, left = psutil.wait_procs(members, timeout=10)
    for process in left:  # orphans of killed processes
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
