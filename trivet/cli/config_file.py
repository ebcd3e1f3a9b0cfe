"""Reads a Serve config file without Ray: the address to listen on, and Trivet's configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from trivet.config import AppConfig
from trivet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ServeFile:
    """The parts of a Serve config that the command line needs."""

    path: Path
    host: str
    port: int
    config: AppConfig

    @property
    def connect_host(self) -> str:
        """The host under which a client on this machine connects."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host

    @property
    def url(self) -> str:
        """The service's URL for a client on this machine."""
        return f"http://{self.connect_host}:{self.port}"


def read_serve_file(path: Path) -> ServeFile:
    """Read and validate a Serve config file. Raises ConfigError, which names the invalid key."""
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text())
        [application] = content["applications"]
    except (OSError, KeyError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not a Serve config with one application: {error}") from error
    try:
        config = AppConfig.model_validate(application.get("args") or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: applications[0].args.{key}: {first['msg']}") from error
    if (prefix := application.get("route_prefix", "/")) != "/":
        raise ConfigError(f"{path}: applications[0].route_prefix is {prefix!r}; Trivet's paths begin at /")
    http = content.get("http_options") or {}
    # Ray listens on every interface if the file names no host.
    return ServeFile(path, http.get("host", "0.0.0.0"), int(http.get("port", 8000)), config)
