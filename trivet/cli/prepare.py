"""`trivet prepare`: fetch, assemble and convert the configured models, so that serving starts from warm caches."""

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
    """Make everything ready that `serve` would otherwise do at its first start."""
    from trivet.engine.backends.openvino_cpu import resolve_precision
    from trivet.engine.ir_cache import ensure_ir
    from trivet.engine.open import prepare_model

    console = Console(stderr=True)
    try:
        settings = read_serve_file(config).config
        precision = resolve_precision(settings.cpu.precision)
        for task in TASKS:
            with console.status(f"{task}: preparing {settings.model_for(task).model}"):
                prepared = prepare_model(settings, task)
                ir_dir = ensure_ir(prepared.source.path, task, precision, prepared.cache)
            console.print(f"{task}: {prepared.source.name} is ready for the CPU at {precision} in {ir_dir}")
    except TrivetError as error:
        console.print(f"[red]error:[/red] {error.message}")
        raise typer.Exit(1) from error
