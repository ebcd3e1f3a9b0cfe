"""The table of commands: where each is defined, what it needs, and its line in `trivet --help`.

A command's module is imported only when that command runs, so that `trivet --help` and a small command start quickly
and an installation without the server has every command that needs no server.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from trivet.errors import TrivetError
from trivet.paths import make_service_importable

SERVER = "Run a server"
CALLS = "Use a server"
QUALITY = "Measure"

MODULES_OF_EXTRA: Mapping[str, tuple[str, ...]] = {
    "serve": ("ray", "openvino", "fastapi", "yaml", "psutil"),
    "index": ("numpy", "filelock", "tree_sitter"),
    "mcp": ("mcp", "mcp_types"),
    "eval": ("sklearn", "numpy", "yaml"),
}
"""Extra → modules that show whether it is installed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. Its function is `NAME_command` of the module `trivet.cli.NAME`, and raises what a command may."""

    name: str
    panel: str
    summary: str
    """The line in `trivet --help`."""
    extra: str | None = None
    """What must be installed besides the base."""

    def function(self) -> Any:
        """Import the command's module and return its function."""
        return getattr(import_module(f"trivet.cli.{self.name}"), f"{self.name}_command")


COMMANDS: tuple[Entry, ...] = (
    Entry("serve", SERVER, "Serve until Ctrl-C.", "serve"),
    Entry("stop", SERVER, "Finish open requests and stop a service.", "serve"),
    Entry("init", SERVER, "Write a commented configuration with every default."),
    Entry("status", SERVER, "Show what a running service reports."),
    Entry("dashboard", SERVER, "Print the link to Ray's dashboard, and how to log in.", "serve"),
    Entry("prepare", SERVER, "Download, verify and convert the configured models.", "serve"),
    Entry("plan", SERVER, "Divide a GPU among models."),
    Entry("doctor", SERVER, "Check a configuration against this machine.", "serve"),
    Entry("key", SERVER, "Make an API key."),
    Entry("embed", CALLS, "Embed texts."),
    Entry("rerank", CALLS, "Sort texts by their relevance to a query."),
    Entry("classify", CALLS, "Label texts."),
    Entry("relate", CALLS, "Find the relations of one text to others."),
    Entry("graph", CALLS, "Find the relations between the files of a folder.", "index"),
    Entry("index", CALLS, "Keep the passages and vectors of a folder in one file.", "index"),
    Entry("search", CALLS, "Find the passages of an index that answer a question.", "index"),
    Entry("mcp", CALLS, "Offer the models as tools to a coding agent.", "mcp"),
    Entry("eval", QUALITY, "Measure models on labelled texts.", "eval"),
    Entry("verify", QUALITY, "Compare the served models with the reference libraries.", "serve"),
)


def missing_modules(extra: str | None) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [module for module in MODULES_OF_EXTRA.get(extra or "", ()) if find_spec(module) is None]


class _LazyCommand(TyperCommand):
    """Stands for a command in the list of all; hands over to the real one when it is called."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.summary, rich_help_panel=entry.panel)
        self.entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments as the real command does. Refuses, in one line, a command that is not installed."""
        make_service_importable()
        missing = missing_modules(self.entry.extra)
        try:
            context = self._real().make_context(info_name, args, parent, **extra)
        except ModuleNotFoundError:
            if not missing:
                raise
            _refuse(self.entry, missing)
        if missing:
            _refuse(self.entry, missing)
        return context

    def _real(self) -> Any:
        only = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        only.command(self.entry.name)(self.entry.function())
        return typer.main.get_command(only)


def _refuse(entry: Entry, missing: Sequence[str]) -> None:
    Console(stderr=True).print(
        f"error: `trivet {entry.name}` needs {', '.join(missing)}: pip install 'trivet[{entry.extra}]'",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    raise typer.Exit(1)


class CommandGroup(TyperGroup):
    """All commands of the table. Ctrl-C in any of them ends the program with 130, as a shell does.

    A file that cannot be read or written is one line, wherever a command meets it.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({entry.name: _LazyCommand(entry) for entry in COMMANDS})

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of stdout has closed it, as `head` does. Python would fail to flush stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(0) from None
        except (TrivetError, OSError) as error:
            from trivet.index.names import shown  # only where something failed: `--help` starts quickly

            typer.echo(f"error: {shown(str(error))}", err=True)
            raise typer.Exit(1) from None
