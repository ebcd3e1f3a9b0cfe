"""`trivet prepare`: downloads, verifies and converts the configured models, so that serving starts quickly."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.config_file import read_serve_file
from trivet.config import TASKS
from trivet.errors import TrivetError


def prepare_command(
    config: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path("serve_config.yaml"),
) -> None:
    """Download, verify and convert the configured models, as `serve` would at its first start."""
    from trivet.engine.open import prepare_model
    from trivet.engine.openvino.backend import resolve_precision
    from trivet.engine.openvino.ir_cache import ensure_ir

    console = Console(stderr=True)
    try:
        settings = read_serve_file(config).config
        precision = resolve_precision(settings.cpu.precision)
        for task in TASKS:
            console.print(f"{task}: looking for {settings.model_for(task).model}")
            prepared = prepare_model(settings, task)  # the hub's client draws its own bars
            console.print(f"{task}: {prepared.verification}", markup=False, highlight=False)
            with console.status(f"{task}: converting for the CPU at {precision}, unless it is cached"):
                ir_dir = ensure_ir(prepared.source.path, task, precision, prepared.cache, recipe=prepared.files.recipe)
            console.print(f"{task}: {prepared.source.name} is ready for the CPU at {precision} in {ir_dir}")
    except TrivetError as error:
        console.print(f"[red]error:[/red] {error.message}")
        raise typer.Exit(1) from error
