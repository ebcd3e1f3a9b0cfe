"""`trivet serve`: starts `serve run` with the environment it needs, says when it answers, and stops it cleanly."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from deployments.environment.exposure import exposure_warning
from deployments.environment.token import ensure_private_token, token_file
from deployments.environment.variables import SHIPPED_FILE, cluster_environment, read_variables
from deployments.haproxy.draining import DRAIN_LIMIT_S, drain
from trivet.api.key_ring import ENVIRONMENT_VARIABLE
from trivet.cli.config_file import ServeFile, read_serve_file
from trivet.errors import ConfigError

_ENDING = (signal.SIGINT, signal.SIGTERM)
_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.5

WELCOME = """
Trivet listens on {url}  (Ctrl-C stops it)
Live status and a playground: {url}/ui

curl {url}/v1/rerank -H 'content-type: application/json' -d '{{
  "query": "how do I retry a failed HTTP request",
  "documents": ["Wait a little longer after every failed attempt, then send the request again.",
                "A CSS grid places items in rows and columns."]}}'
"""


def serve_command(
    config: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path("serve_config.yaml"),
    ray_env: Annotated[Path, typer.Option(help="Variables for Ray's processes.")] = SHIPPED_FILE,
    lean: Annotated[
        bool, typer.Option("--lean", help="Without Ray's dashboard: less memory, no `serve deploy` or `serve status`.")
    ] = False,
) -> None:
    """Serve until Ctrl-C."""
    console = Console(stderr=True)
    try:
        file = read_serve_file(config)
    except ConfigError as error:
        console.print(f"[red]error:[/red] {error.message}")
        raise typer.Exit(1) from error
    keys = file.config.api.keys_file or os.environ.get(ENVIRONMENT_VARIABLE)
    if warning := exposure_warning(file.host, has_keys=bool(keys)):
        console.print(f"[bold red]warning:[/bold red] {warning}")
    if _is_taken(file):
        console.print(f"[red]error:[/red] something listens on {file.url} already")
        raise typer.Exit(1)
    # Both ways of asking to stop mean the same, also where a shell started us in the background and ignores SIGINT.
    for request in _ENDING:
        signal.signal(request, signal.default_int_handler)
    child = _start(file, ray_env, lean)
    try:
        _announce(child, file)
        code = child.wait()
    except KeyboardInterrupt:
        console.print("stopping: answering what was accepted (Ctrl-C again: at once)")
        code = _stop(child, console)
    raise typer.Exit(code)


def _start(file: ServeFile, ray_env: Path, lean: bool) -> "subprocess.Popen[bytes]":
    listed = read_variables(ray_env.read_text(encoding="utf-8"))
    environment = cluster_environment(listed, os.environ, programs=Path(sys.executable).parent)
    if token := token_file(environment, Path.home()):
        ensure_private_token(token)
    run = [sys.executable, "-m", "deployments.lean"] if lean else [Path(sys.executable).with_name("serve"), "run"]
    # A session of its own: Ctrl-C reaches this process alone, and is passed on exactly once.
    return subprocess.Popen([*run, str(file.path)], env=environment, start_new_session=True)


def _is_taken(file: ServeFile) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((file.connect_host, file.port)) == 0


def _announce(child: "subprocess.Popen[bytes]", file: ServeFile) -> None:
    """Wait until every model answers, then say where; returns early if the child ends."""
    while child.poll() is None:
        try:
            if httpx.get(f"{file.url}/readyz", timeout=5.0).status_code == 200:
                typer.echo(WELCOME.format(url=file.url), err=True)  # not wrapped: the command is to be copied
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(_POLL_S)


def _stop(child: "subprocess.Popen[bytes]", console: Console) -> int:
    """Answer what was accepted, let Serve take its cluster down; kill the process it still is after a minute."""
    try:
        if not drain(child.pid):
            console.print(f"what is still open after {DRAIN_LIMIT_S:g} s is given up")
    except KeyboardInterrupt:
        console.print("requests under way are given up")
    for request in _ENDING:  # heard; leaving now would leave a cluster behind
        signal.signal(request, signal.SIG_IGN)
    child.send_signal(signal.SIGINT)
    try:
        child.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return 1
    return 0
