"""`trivet init`: writes a configuration to edit."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
    console = Console(stderr=True)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(_HEAD + _without_head(shipped_config().read_text(encoding="utf-8")))
    except FileExistsError:
        console.print(f"error: {path} exists; --force replaces it", markup=False, highlight=False)
        raise typer.Exit(1) from None
    except OSError as error:
        console.print(f"error: {path} cannot be written: {error.strerror}", markup=False, highlight=False)
        raise typer.Exit(1) from error
    console.print(f"wrote {path}; `trivet serve` in its folder reads it", markup=False, highlight=False)


def _without_head(text: str) -> str:
    """Return the text without the comment at its top, which speaks of this project's repository."""
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[first:])
