"""`trivet serve`: starts Serve with the environment it needs, announces when it is ready, and stops it cleanly."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from trivet.cli.config_file import ServeFile, read_serve_file
from trivet.errors import ConfigError

_ENDING = (signal.SIGINT, signal.SIGTERM)
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
    ray_env: Annotated[
        Path | None,
        typer.Option(help="File of variables for Ray's processes. Default: the one that ships with Trivet."),
    ] = None,
    lean: Annotated[
        bool,
        typer.Option(
            "--lean", help="Run without Ray's dashboard: less memory, but no `serve deploy` and no `serve status`."
        ),
    ] = False,
) -> None:
    """Serve until Ctrl-C."""
    from deployments import serve_process
    from deployments.environment.exposure import exposure_warning
    from trivet.api.middleware.keys import ENVIRONMENT_VARIABLE

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
        console.print(f"[red]error:[/red] {file.url} is in use; stop that process, or change http_options.port")
        raise typer.Exit(1)
    # SIGTERM stops the service like SIGINT, which a shell ignores in processes that it starts in the background.
    for request in _ENDING:
        signal.signal(request, signal.default_int_handler)
    service = serve_process.start(file.path, ray_env=ray_env, lean=lean)
    try:
        _announce(service, file)
        code = service.wait()
    except KeyboardInterrupt:
        console.print("stopping: finishing open requests (Ctrl-C again: stop immediately)")
        code = _stop(service, console)
    raise typer.Exit(code)


def _is_taken(file: ServeFile) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((file.connect_host, file.port)) == 0


def _announce(service: "subprocess.Popen[bytes]", file: ServeFile) -> None:
    """Wait until every model is ready, then print the URL; return early if the service ends."""
    while service.poll() is None:
        try:
            if httpx.get(f"{file.url}/readyz", timeout=5.0).status_code == 200:
                typer.echo(WELCOME.format(url=file.url), err=True)  # not wrapped, so that the command can be copied
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(_POLL_S)


def _stop(service: "subprocess.Popen[bytes]", console: Console) -> int:
    """Finish open requests unless interrupted, then stop the service; return the exit code."""
    from deployments import serve_process

    try:
        if not serve_process.finish_requests(service):
            console.print(f"giving up requests that are still open after {serve_process.FINISH_LIMIT_S:g} s")
    except KeyboardInterrupt:
        console.print("giving up open requests")
    for request in _ENDING:  # exiting now would leave the cluster running
        signal.signal(request, signal.SIG_IGN)
    return 0 if serve_process.stop(service) else 1
