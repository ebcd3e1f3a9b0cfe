"""`trivet serve`: starts the service, announces its URL, and stops it without losing accepted requests."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from trivet.cli.config_file import (
    ConfigArgument,
    ConfigOption,
    DeviceOption,
    HostOption,
    PortOption,
    ServeFile,
    chosen_file,
    read_serve_file,
)
from trivet.cli.preparing import prepare_models
from trivet.cli.progress_of_start import StartProgress
from trivet.errors import ConfigError
from trivet.paths import cache_dir

if TYPE_CHECKING:
    from deployments.service.supervisor import Supervisor

_POLL_S = 0.25
_FINISH_LIMIT_S = 20.0
"""How long open requests may take before the service stops."""
_LAST_LINES = 20
"""Lines of `serve run` that are shown if it ends before the service is ready."""
_INTERRUPTED = 130
"""The shell's exit code for a program that Ctrl-C ended. A SIGTERM is a supervisor's ordinary stop: 0."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

WELCOME = """
Trivet listens on {url}  (Ctrl-C stops it)
Live status and a playground: {url}/ui{key}
Ray's dashboard: {dashboard}

curl {url}/v1/rerank -H 'content-type: application/json' -d '{{
  "query": "how do I retry a failed HTTP request",
  "documents": ["Wait a little longer after every failed attempt, then send the request again.",
                "A CSS grid places items in rows and columns."]}}'
"""


class _Stopped(BaseException):
    """Raised in the main thread by a signal that ends it. A BaseException, so that no `except Exception` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _INTERRUPTED if number == signal.SIGINT else 0


def serve_command(
    config: ConfigArgument = None,
    config_option: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    device: DeviceOption = None,
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
    console = Console(stderr=True)
    try:
        file = read_serve_file(chosen_file(config, config_option), host=host, port=port, device=device)
    except ConfigError as error:
        _fail(console, error.message)
    _handle_signals()
    try:
        code = _serve(file, ray_env, lean, console)
    except _Stopped as stopped:  # before the service was started
        code = stopped.exit_code
    raise typer.Exit(code)


def _serve(file: ServeFile, ray_env: Path | None, lean: bool, console: Console) -> int:
    from deployments.environment.exposure import exposure_warning
    from deployments.environment.variables import SHIPPED_FILE, read_variables
    from deployments.service.supervisor import Supervisor
    from trivet.api.key_ring import open_keys

    keys_file = file.config.api.keys_file
    try:
        variables = read_variables((ray_env or SHIPPED_FILE).read_text(encoding="utf-8"))
        has_keys = open_keys(Path(keys_file) if keys_file else None, os.environ) is not None
    except ConfigError as error:
        _fail(console, error.message)
    except (OSError, ValueError) as error:
        _fail(console, f"--ray-env {ray_env}: {error}")
    if warning := exposure_warning(file.host, has_keys=has_keys):
        console.print(f"[bold red]warning:[/bold red] {escape(warning)}")
    if reason := obstacle(file):
        _fail(console, reason)
    cache = cache_dir(file.config.serving.cache_dir)
    _announce(file, os.environ, console)
    if code := _prepared(file, cache):
        return code
    service = Supervisor(
        file.text(),
        file.url,
        file.port,
        variables,
        cache,
        lean,
        has_keys,
        Path.cwd() if file.has_own_application else None,
    )
    try:
        service.start(os.environ, programs=Path(sys.executable).parent, home=Path.home())
    except (ConfigError, OSError) as error:
        _fail(console, str(error))
    try:
        if service.cleared:
            console.print(f"ended {service.cleared} processes that a killed service had left")
        return _run(service, file, has_keys, console)
    except _Stopped as stopped:
        return _stop(service, console) or stopped.exit_code


def _announce(file: ServeFile, environ: Mapping[str, str], console: Console) -> None:
    """Say which configuration applies, and what of the environment does not."""
    if file.is_shipped:
        console.print("serving with the defaults; `trivet init` writes a serve_config.yaml to change them")
    if environ.get("RAY_ADDRESS", "local") != "local":
        console.print(
            f"RAY_ADDRESS={environ['RAY_ADDRESS']} is not used: the service starts a cluster of its own "
            "(docs/cluster.md says how to deploy to a running one)",
            markup=False,
            highlight=False,
        )


def _prepared(file: ServeFile, cache: Path) -> int:
    """Prepare the models, and end the program that does so if a signal arrives; return its exit code."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        return prepare_models(file, cache, running.append)
    except _Stopped:
        for child in running:
            child.terminate()
            child.wait()
        raise


def _run(service: "Supervisor", file: ServeFile, has_keys: bool, console: Console) -> int:
    """Wait until every model is ready, announce the URL, and watch the service until it ends."""
    from deployments.service.folder import last_lines

    ready = False
    progress = StartProgress(file.url, console)
    console.print("starting Ray and the models")
    while (code := service.exit_code()) is None:
        if (lost := service.check()) is not None:
            console.print(f"[red]error:[/red] {lost}, has ended: the service stops. A supervisor may start it again.")
            _show_logs(service.fail(), console)
            return 1
        if not ready and progress.is_ready():
            ready = True
            typer.echo(_welcome(service, file, has_keys), err=True)  # not wrapped, so that the command can be copied
        time.sleep(_POLL_S)
    if not ready:
        for line in last_lines(service.folder, _LAST_LINES):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(f"[red]error:[/red] the service ended before it was ready (exit code {code})")
    _show_logs(service.fail(), console)
    return code or int(not ready)


def _welcome(service: "Supervisor", file: ServeFile, has_keys: bool) -> str:
    from deployments.service.folder import dashboard_of

    dashboard = dashboard_of(service.folder)
    return WELCOME.format(
        url=file.url,
        key="  (asks for a key)" if has_keys else "",
        dashboard=f"{dashboard}  (`trivet dashboard` says how to log in)" if dashboard else "none (--lean)",
    )


def _show_logs(kept: Path | None, console: Console) -> None:
    if kept is not None:
        console.print(f"its logs are kept in {kept}", highlight=False, soft_wrap=True)


def _stop(service: "Supervisor", console: Console) -> int:
    """Finish open requests unless interrupted, then stop the service; return 1 if it had to be killed."""
    from deployments.haproxy.draining import drain

    try:
        service.announce_stop()
        console.print("stopping: finishing open requests (Ctrl-C again: stop immediately)")
        if not drain(service.pid, _FINISH_LIMIT_S):
            console.print(f"giving up requests that are still open after {_FINISH_LIMIT_S:g} s")
    except _Stopped:
        console.print("giving up open requests")
    for number in _ENDING:  # exiting now would leave the cluster running
        signal.signal(number, signal.SIG_IGN)
    return service.stop()


def _handle_signals() -> None:
    """Handle the signals that end a program in the same way, even if a shell made this process ignore SIGINT to run it
    in the background. SIGHUP says that the terminal has gone; `nohup` has it ignored, and it stays ignored."""
    at_terminal = os.isatty(2)

    def stop(number: int, _frame: object) -> NoReturn:
        if number == signal.SIGHUP and at_terminal:  # writing there would fail, and end this process before the service
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        raise _Stopped(number)

    for number in _ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def obstacle(file: ServeFile) -> str | None:
    """Return why HTTP cannot listen on the configured address, and the remedy; None if it can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in file.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was closed a minute ago is free
            probe.bind((file.host, file.port))
    except PermissionError:
        return f"this user may not listen on port {file.port}: choose one from 1024 on with --port"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {file.port} is in use: stop that process, or choose another port with --port"
        return f"nothing can listen on {file.host!r} ({error.strerror}): give an address of this machine with --host"
    except (TypeError, ValueError) as error:  # a zero byte, or a name that cannot be one
        return f"nothing can listen on {file.host!r} ({error}): give an address of this machine with --host"
    return None


def _fail(console: Console, message: str) -> NoReturn:
    console.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
