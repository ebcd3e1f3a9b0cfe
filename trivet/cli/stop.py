"""`trivet stop`: stops a service that runs in the background or at another terminal."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.config_file import read_serve_file
from trivet.errors import TrivetError
from trivet.paths import cache_dir


def stop_command(
    config: Annotated[Path, typer.Argument(help="The Serve config file that the service was started with.")] = Path(
        "serve_config.yaml"
    ),
) -> None:
    """Finish open requests and stop the service, as Ctrl-C at its terminal would."""
    from deployments.service.stopping import stop_service

    console = Console(stderr=True)
    try:
        file = read_serve_file(config)
        done = stop_service(cache_dir(file.config.serving.cache_dir), file.port)
    except TrivetError as error:
        console.print(f"error: {error.message}", markup=False, highlight=False)
        raise typer.Exit(1) from error
    console.print(done, highlight=False)
