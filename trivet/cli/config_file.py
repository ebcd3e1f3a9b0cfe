"""Reads a Serve config file without Ray: the address to listen on, and Trivet's configuration.

Without a file, the configuration that ships with Trivet applies, so that `trivet serve` works in an empty folder.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from trivet.config import AppConfig
from trivet.errors import ConfigError
from trivet.paths import shipped_config

FILE_NAME = "serve_config.yaml"
IMPORT_PATH = "app:build"
"""Of the application that this project defines; a file may name one of its own."""

_PATH_KEYS = ("dir", "file", "path")
"""A configuration key that is one of these, or ends with one after an underscore, holds a path."""

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(help=f"A Serve config file. Default: {FILE_NAME} in this folder, else Trivet's defaults."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The same as the argument CONFIG.")
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on, instead of http_options.host.")]
PortOption = Annotated[int | None, typer.Option(min=1, max=65535, help="Port, instead of http_options.port.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda or simulated, instead of the file's `device`.")]


@dataclass(frozen=True, slots=True)
class ServeFile:
    """A Serve config with the command line's changes."""

    path: Path
    host: str
    port: int
    config: AppConfig
    content: Mapping[str, Any]
    """All of it, as Serve reads it. Paths in it are absolute."""

    @property
    def connect_host(self) -> str:
        """The host under which a client on this machine connects."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The service's URL for a client on this machine."""
        host = f"[{self.connect_host}]" if ":" in self.connect_host else self.connect_host
        return f"http://{host}:{self.port}"

    @property
    def is_shipped(self) -> bool:
        """Whether it is the file that ships with Trivet."""
        return self.path == shipped_config()

    @property
    def has_own_application(self) -> bool:
        """Whether it names another application than Trivet's own, which the caller's folder may define."""
        return bool(self.content["applications"][0].get("import_path") != IMPORT_PATH)

    def text(self) -> str:
        """Return the file that Serve is to read."""
        import yaml  # only where a file is read or written: `--help` works without the server

        return yaml.safe_dump(dict(self.content), sort_keys=False, allow_unicode=True)


def chosen_file(argument: Path | None, option: Path | None = None) -> Path:
    """Return the file that the command line names, else `serve_config.yaml` in this folder, else the shipped one."""
    if argument is not None and option is not None:
        raise typer.BadParameter("give the configuration once: as CONFIG or as --config")
    named = argument or option
    if named is not None:
        return named
    here = Path(FILE_NAME)
    return here if here.exists() else shipped_config()


def read_serve_file(
    path: Path, *, host: str | None = None, port: int | None = None, device: str | None = None
) -> ServeFile:
    """Read and validate a Serve config file; `host`, `port` and `device` take the place of its own values.

    Raises:
        ConfigError: it cannot be read, or a key is invalid; the message names the key.
    """
    import yaml

    from trivet.cli.yaml_file import load_yaml

    try:
        content = _object(load_yaml(path.read_text(encoding="utf-8")), "the file")
        applications = content.get("applications")
        if not isinstance(applications, list) or len(applications) != 1:
            raise ValueError("`applications` must be a list with one entry")
        application = _object(applications[0], "applications[0]")
        arguments = dict(_object(application.get("args") or {}, "applications[0].args"))
        http = dict(_object(content.get("http_options") or {}, "http_options"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}: name another one, or write one with `trivet init`") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a Serve config with one application: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not a Serve config: its values are nested too deeply") from error
    if device is not None:
        arguments["device"] = device
    # Ray listens on every interface if the file names no host.
    http = {"host": "0.0.0.0", "port": 8000, **http}
    http |= {} if host is None else {"host": host}
    http |= {} if port is None else {"port": port}
    if not isinstance(http["host"], str) or not http["host"].strip():  # an empty one would be every interface
        raise ConfigError(f"{path}: http_options.host is {http['host']!r}; it must be an address, such as 127.0.0.1")
    if type(http["port"]) is not int or not 1 <= http["port"] <= 65535:
        raise ConfigError(f"{path}: http_options.port is {str(http['port'])[:80]}; it must be a number from 1 to 65535")
    try:
        config = AppConfig.model_validate(arguments)
    except ValidationError as error:
        raise ConfigError(f"{path}: {what_is_wrong(error, 'applications[0].args')}") from error
    if (prefix := application.get("route_prefix", "/")) != "/":
        raise ConfigError(f"{path}: applications[0].route_prefix is {prefix!r}; Trivet's paths begin at /")
    content["http_options"] = http
    content["applications"] = [{**application, "args": absolute_paths(arguments, Path.cwd())}]
    return ServeFile(path, http["host"], http["port"], config, content)


def what_is_wrong(error: ValidationError, *above: str) -> str:
    """Name the first wrong key of a configuration, and say what is wrong with it.

    Args:
        error: of the configuration.
        above: the keys that lead to it.
    """
    first = error.errors()[0]
    key = ".".join((*above, *map(str, first["loc"])))
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, and is {'empty' if value is None else type(value).__name__}")
    return value


def absolute_paths(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return Trivet's arguments with their relative paths joined to `folder`, which the service does not run in.

    Paths are the values of keys whose names say so, and names of models that are directories.
    """
    return {key: _absolute(key, value, folder) for key, value in arguments.items()}


def _absolute(key: str, value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return absolute_paths(value, folder)
    if isinstance(value, list) and key == "pickled_models":
        return [_absolute("model", each, folder) for each in value]
    if not isinstance(value, str) or value.startswith("~"):
        return value
    if key.rpartition("_")[2] in _PATH_KEYS:
        return os.path.abspath(folder / value)
    if key == "model" and (folder / value).is_dir():
        return os.path.abspath(folder / value)
    return value
