"""`trivet stop`: stops a service that runs in the background or at another terminal."""

import typer
from rich.console import Console

from trivet.cli.config_file import ConfigArgument, ConfigOption, PortOption, chosen_file, read_serve_file
from trivet.errors import TrivetError
from trivet.paths import cache_dir


def stop_command(
    config: ConfigArgument = None,
    config_option: ConfigOption = None,
    port: PortOption = None,
) -> None:
    """Finish open requests and stop the service, as Ctrl-C at its terminal would."""
    from deployments.service.stopping import stop_service

    console = Console(stderr=True)
    path = chosen_file(config, config_option)
    try:
        file = read_serve_file(path, port=port)
        done = stop_service(cache_dir(file.config.serving.cache_dir), file.port)
    except TrivetError as error:
        console.print(f"error: {error.message}", markup=False, highlight=False)
        raise typer.Exit(1) from error
    console.print(done, markup=False, highlight=False)
