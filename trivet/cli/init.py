"""`trivet init`: writes a configuration to edit."""

from pathlib import Path
from typing import Annotated

import typer

from trivet.errors import ConfigError
from trivet.paths import shipped_config

_HEAD = """\
# Trivet's configuration, which `trivet serve` in this folder reads. Every key is optional, and the values below are
# the defaults: keep what you change and remove the rest.
"""


def init_command(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("serve_config.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented serve_config.yaml with every key and its default."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(_HEAD + _without_head(shipped_config().read_text(encoding="utf-8")))
    except OSError as error:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; name a file in it") from error
        if isinstance(error, FileExistsError):
            raise ConfigError(f"{path} exists; --force replaces it") from error
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}; `trivet serve` in its folder reads it", err=True)


def _without_head(text: str) -> str:
    """Return the text without the comment at its top, which speaks of this project's repository."""
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[first:])
