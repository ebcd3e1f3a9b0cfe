"""`trivet stop`: stops a service that runs in the background or at another terminal."""

from rich.console import Console

from trivet.cli.config_file import ConfigArgument, ConfigOption, PortOption, chosen_file, read_serve_file
from trivet.paths import cache_dir


def stop_command(
    config: ConfigArgument = None,
    config_option: ConfigOption = None,
    port: PortOption = None,
) -> None:
    """Finish open requests and stop the service, as Ctrl-C at its terminal would."""
    from deployments.service.stopping import stop_service

    file = read_serve_file(chosen_file(config, config_option), port=port)
    done = stop_service(cache_dir(file.config.serving.cache_dir), file.port)
    Console(stderr=True).print(done, markup=False, highlight=False)
