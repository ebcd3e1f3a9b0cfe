"""`trivet doctor`: what this machine can do, what will run where, and what to change."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from trivet.cli.config_file import read_serve_file
from trivet.doctor import examine
from trivet.errors import ConfigError
from trivet.machine import look

_MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "problem": "[red]problem[/red]"}


def doctor_command(
    config: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path("serve_config.yaml"),
) -> None:
    """Examine this machine. Exits with 1 if something will not work."""
    from trivet.paths import cache_dir

    console = Console()
    try:
        file = read_serve_file(config)
    except ConfigError as error:
        console.print(f"[red]error:[/red] {error.message}")
        raise typer.Exit(1) from error
    findings = examine(look((file.port,), cache_dir(file.config.serving.cache_dir)), file.config)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        advice = f"\n[dim]→ {finding.advice}[/dim]" if finding.advice else ""
        table.add_row(_MARKS[finding.level], finding.subject, finding.text + advice)
    console.print(table)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)
