"""Starts `serve run` as a child process with the environment that Ray needs, and stops it without losing requests.

Imports no ray: `trivet serve` uses it. `deployments.lean` and `serve` run in the child.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from deployments.environment.token import ensure_private_token, token_file
from deployments.environment.variables import SHIPPED_FILE, cluster_environment, read_variables
from deployments.haproxy.draining import drain

FINISH_LIMIT_S = 20.0
"""How long open requests may take before the service stops."""

_STOP_TIMEOUT_S = 60.0


def start(config: Path, *, ray_env: Path | None = None, lean: bool = False) -> "subprocess.Popen[bytes]":
    """Start Serve with the given config file, in a new cluster unless `RAY_ADDRESS` is set.

    Args:
        config: a Serve config file.
        ray_env: variables for Ray's processes; None: the file that ships with Trivet.
        lean: without Ray's dashboard.
    """
    listed = read_variables((ray_env or SHIPPED_FILE).read_text(encoding="utf-8"))
    environment = cluster_environment(listed, os.environ, programs=Path(sys.executable).parent)
    if token := token_file(environment, Path.home()):
        ensure_private_token(token)
    run = [sys.executable, "-m", "deployments.lean"] if lean else [Path(sys.executable).with_name("serve"), "run"]
    # In a new session, so that Ctrl-C reaches only this process, which passes it on exactly once.
    return subprocess.Popen([*run, str(config)], env=environment, start_new_session=True)


def finish_requests(service: "subprocess.Popen[bytes]") -> bool:
    """Refuse new requests and wait for the open ones; return False if some are still open after `FINISH_LIMIT_S`."""
    return drain(service.pid, FINISH_LIMIT_S)


def stop(service: "subprocess.Popen[bytes]") -> bool:
    """Let Serve take its cluster down; return False if it did not end within a minute and had to be killed."""
    service.send_signal(signal.SIGINT)
    try:
        service.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()
        return False
    return True
