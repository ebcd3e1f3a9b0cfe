"""Where Trivet stores files on this machine, and where the parts of the service lie that are not in this package."""

import os
import sys
from pathlib import Path

from trivet.errors import ConfigError

_PACKAGED = Path(__file__).with_name("_service")
"""In an installed wheel, where nothing lies outside the package `trivet`."""
_CHECKOUT = Path(__file__).parent.parent


def cache_dir(configured: str | None) -> Path:
    """Return the folder for reproducible files: `configured`, else `$TRIVET_CACHE`, else `~/.cache/trivet`.

    Raises:
        ConfigError: it is in the home of a user that does not exist.
    """
    return expanded(configured or os.environ.get("TRIVET_CACHE") or "~/.cache/trivet")


def expanded(path: str) -> Path:
    """Return a path with the home folder in place of `~`.

    Raises:
        ConfigError: there is no such user, or the system does not know its home.
    """
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise ConfigError(f"{path}: {path.split('/')[0]} is the home of nobody here")
    return Path(found)


def service_folder() -> Path:
    """Return the folder of `app.py`, `deployments/` and `serve_config.yaml`, in a checkout as in an installed wheel."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def shipped_config() -> Path:
    """Return the configuration that ships with Trivet: every key, with its default and a comment."""
    return service_folder() / "serve_config.yaml"


def make_service_importable() -> None:
    """Put the service's folder first on this process's module path, so that no other `deployments` is imported."""
    folder = str(service_folder())
    if folder not in sys.path:
        sys.path.insert(0, folder)
