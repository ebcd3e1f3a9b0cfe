"""`trivet prepare`: downloads, verifies and converts the configured models, so that serving starts quickly."""

import time

import typer
from rich.console import Console

from trivet.cli.config_file import ConfigArgument, ConfigOption, chosen_file, read_serve_file
from trivet.config import TASKS
from trivet.errors import TrivetError


def prepare_command(config: ConfigArgument = None, config_option: ConfigOption = None) -> None:
    """Download, verify and convert the configured models, as `serve` does before its first start."""
    from trivet.engine.open import prepare_model
    from trivet.engine.openvino.backend import resolve_precision
    from trivet.engine.openvino.ir_cache import ensure_ir

    console = Console(stderr=True)
    path = chosen_file(config, config_option)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    try:
        settings = read_serve_file(path).config
        precision = resolve_precision(settings.cpu.precision)
        for number, task in enumerate(TASKS, start=1):
            step = f"{task}, {number} of {len(TASKS)}"
            say(f"{step}: looking for {settings.model_for(task).model}")
            prepared = prepare_model(settings, task)  # the hub's client draws its own bars
            say(f"{step}: {prepared.verification}")
            say(f"{step}: converting for the CPU at {precision}, unless it is in the cache")
            started_s = time.monotonic()
            ir_dir = ensure_ir(prepared.source.path, task, precision, prepared.cache, recipe=prepared.files.recipe)
            took_s = time.monotonic() - started_s
            say(f"{step}: {prepared.source.name} is ready for the CPU at {precision} in {ir_dir} ({took_s:.0f} s)")
    except TrivetError as error:
        say(f"error: {error.message}")
        raise typer.Exit(1) from error
