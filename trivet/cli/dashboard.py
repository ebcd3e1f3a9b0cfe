"""`trivet dashboard`: where Ray's dashboard of a running service is, and how to log in."""

import os
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from trivet.cli.config_file import ConfigArgument, ConfigOption, PortOption, chosen_file, read_serve_file
from trivet.errors import ConfigError
from trivet.paths import cache_dir


def dashboard_command(
    config: ConfigArgument = None, config_option: ConfigOption = None, port: PortOption = None
) -> None:
    """Print the link to Ray's dashboard, and the file of the token that it asks for."""
    from deployments.environment.token import token_file
    from deployments.service.folder import dashboard_of
    from deployments.service.record import RecordFile

    console = Console(stderr=True)
    try:
        file = read_serve_file(chosen_file(config, config_option), port=port)
    except ConfigError as error:
        _fail(console, error.message)
    record = RecordFile(cache_dir(file.config.serving.cache_dir), file.port).read()
    if record is None or not record.is_running:
        _fail(console, f"no service of this user runs on port {file.port}: start it with `trivet serve`")
    address = dashboard_of(Path(record.folder))
    if address is None:
        _fail(console, "this service has no dashboard: it was started with --lean, or is still starting")
    typer.echo(address)
    token = token_file(os.environ, Path.home())
    console.print(
        f"It asks for a token: paste the content of {token} (cat {token})"
        if token
        else "It asks for the token in RAY_AUTH_TOKEN, or for none if RAY_AUTH_MODE says so",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"The same in a terminal: RAY_DASHBOARD_ADDRESS={address} RAY_AUTH_MODE=token serve status",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _fail(console: Console, message: str) -> NoReturn:
    console.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)
