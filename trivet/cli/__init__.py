"""Serve and use embedding, reranking and classification models."""

from typing import Annotated

import typer

import trivet
from trivet.cli.commands import CommandGroup

main = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trivet {trivet.__version__}")
        raise typer.Exit


@main.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Handle the options that precede the command."""
