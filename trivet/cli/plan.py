"""`trivet plan`: divides a GPU among models, or explains why they do not fit. Downloads nothing."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from trivet.checkpoint.gpu_form import AMPERE, gpu_precision
from trivet.checkpoint.memory import DTYPES, Dtype
from trivet.cli.about_models import render_about
from trivet.cli.plan_memory import available_here, check, cpu_settings, need_of
from trivet.config import TASKS, AppConfig
from trivet.errors import ConfigError, ModelError
from trivet.paths import cache_dir
from trivet.units import format_bytes
from trivet.vram.planning.configuration import configuration
from trivet.vram.planning.facts import CATALOGUE, facts_for
from trivet.vram.planning.planner import Assumptions, Plan, fitting_preset
from trivet.vram.planning.presets import PRESETS
from trivet.vram.planning.several import plan_gpus
from trivet.vram.planning.table import render

_SIZE: TypeAdapter[ByteSize] = TypeAdapter(ByteSize)


def _size(text: str) -> int:
    try:
        return int(_SIZE.validate_python(text))
    except ValidationError as error:
        raise typer.BadParameter(f"{text!r} is not a size such as 8GiB or 500MiB") from error


def _dtype(text: str) -> Dtype:
    for dtype in DTYPES:
        if dtype == text:
            return dtype
    raise typer.BadParameter(f"{text!r} is not one of {', '.join(DTYPES)}")


def _check_text(names: str) -> None:
    """Refuse names of files that are not UTF-8: neither a terminal nor a configuration can show them."""
    try:
        names.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"{names.encode(errors='backslashreplace').decode()} is not UTF-8") from error


def plan_command(
    vram: Annotated[
        str | None,
        typer.Option(help="Memory of the GPU, such as 8GiB. Default: that of the preset, or of this machine."),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(help="Memory of several GPUs, such as 8GiB,8GiB, instead of --vram.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Models, separated by commas: catalogue names or local directories.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"One of {', '.join(PRESETS)}, instead of --models.")] = None,
    smaller: Annotated[bool, typer.Option(help="Use the preset's smaller models.")] = False,
    dtype: Annotated[
        str | None,
        typer.Option(
            help=f"Precision of weights and activations: {', '.join(DTYPES)}. fp16 stands for a GPU before Ampere. "
            "Default: bf16, or what this machine's GPU computes, where it is planned."
        ),
    ] = None,
    external: Annotated[
        str | None,
        typer.Option(
            help="Memory to leave to other processes. Default: what the preset leaves them, or what they use now on "
            "this machine's GPU."
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            help="Size of one CUDA context. Default: what a GPU replica has measured on this machine's GPU, if that "
            "is planned; otherwise 450MiB, an assumption."
        ),
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option(help="Host memory that is available. Default: this machine's, where its own GPU is planned."),
    ] = None,
    cpu_replicas: Annotated[str, typer.Option(help="CPU replicas of each model: a number, or bounds as in 1-4.")] = "1",
    cpu_precision: Annotated[
        str | None,
        typer.Option(help="Precision on the CPU: fp32, bf16 or int8. Default: what this machine computes natively."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write a configuration for `trivet serve` to this new file.")
    ] = None,
) -> None:
    """Divide a GPU among models: caps, fractions and token budgets. Exits with 1 if they do not fit the GPU or the RAM.

    Without --models and --preset, plans the largest preset that fits this machine's GPU, or one of the size of --vram.
    """
    _check_text(f"{models or ''}{write or ''}")
    if models is not None and preset is not None:
        raise typer.BadParameter("give either --models or --preset")
    if smaller and preset is None:
        raise typer.BadParameter("--smaller requires --preset")
    if vram is not None and gpus is not None:
        raise typer.BadParameter("give either --vram or --gpus")
    if models is not None and vram is None and gpus is None:
        raise typer.BadParameter("--models requires --vram or --gpus")
    if gpus is not None and models is None and preset is None:
        raise typer.BadParameter("--gpus requires --models or --preset")
    if gpus is not None and write is not None:
        raise typer.BadParameter("--write is for one GPU: the models of several are divided by gpu.placement")
    preset_given = preset is not None
    precision = _dtype("bf16" if dtype is None else dtype)
    config = cpu_settings(cpu_replicas, cpu_precision)
    available_bytes = None if ram is None else _size(ram)
    assumptions = Assumptions(external_bytes=_size(external) if external is not None else 0)
    if context is not None:
        assumptions = replace(assumptions, context_bytes=_size(context))
    gpu_bytes = None if vram is None else _size(vram)
    if models is None and preset is None:
        here = gpu_bytes is None
        if gpu_bytes is None:
            gpu_bytes, used_bytes, usual, context_bytes = _found_gpu()
            if context is None and context_bytes is not None:
                assumptions = replace(assumptions, context_bytes=context_bytes, context_is_measured=True)
            precision = usual if dtype is None else precision
            available_bytes = available_here() if available_bytes is None else available_bytes
            if external is None:
                assumptions = replace(assumptions, external_bytes=used_bytes)
        known = here or external is not None
        left_bytes = assumptions.external_bytes
        fitting = fitting_preset(
            gpu_bytes, precision, assumptions, lambda one: left_bytes if known else one.external_bytes
        )
        if fitting is None and not known:
            fitting = fitting_preset(gpu_bytes, precision, assumptions, lambda _: 0)
            if fitting is not None:
                typer.echo("Nothing is left to other processes; --external leaves them some.", err=True)
                known = True
        preset, smaller = ("cpu", False) if fitting is None else (fitting[0].name, fitting[1])
        if preset == "cpu":
            if gpu_bytes:
                left = f", of which {format_bytes(assumptions.external_bytes)} are left to others"
                typer.echo(
                    f"The GPU has {format_bytes(gpu_bytes)}{left if assumptions.external_bytes else ''}: "
                    "no preset for a GPU fits it. --models, or --preset cpu with --vram, plans smaller models for it.",
                    err=True,
                )
            gpu_bytes = 0
        if known:
            external = external or "as it is"  # not the preset's
    if preset is not None:
        if preset not in PRESETS:
            raise typer.BadParameter(f"{preset!r} is not one of {', '.join(PRESETS)}")
        chosen = PRESETS[preset]
        names: tuple[str, ...] = chosen.smaller_models if smaller else chosen.models
        gpu_bytes = chosen.gpu_bytes if gpu_bytes is None else gpu_bytes
        if external is None:
            assumptions = replace(assumptions, external_bytes=chosen.external_bytes)
        if gpus is None and gpu_bytes == 0:
            unused = [name for name, value in (("--external", external), ("--context", context)) if value]
            if preset_given and unused:
                raise typer.BadParameter(f"{' and '.join(unused)}: there is no GPU to divide; give its size, --vram")
            found = [facts_for(name) for name in names]
            typer.echo(f"{preset} ({chosen.purpose}): no GPU to divide.\n\n{render_about(found)}")
            check(need_of(config, found, with_gpu=False), config.cpu.replicas, available_bytes)
            _write(write, names, None, config)
            return
    else:
        names = tuple(name.strip() for name in (models or "").split(",") if name.strip())
    try:
        facts = [facts_for(name) for name in names]
        sizes_bytes = [gpu_bytes or 0] if gpus is None else [_size(size) for size in gpus.split(",")]
        plans = plan_gpus(facts, sizes_bytes, dtype=precision, assumptions=assumptions)
    except (ConfigError, ModelError) as error:
        typer.echo(f"Cannot plan: {error}", err=True)
        raise typer.Exit(code=1) from error
    for index, planned in enumerate(plans):
        if len(plans) > 1:
            typer.echo(f"GPU {index}:" if planned else f"GPU {index}: no model")
        if planned is not None:
            typer.echo(render(planned))
    typer.echo(f"\n{render_about(facts)}")
    if len(facts) == len(TASKS):
        check(need_of(config, facts, with_gpu=True), config.cpu.replicas, available_bytes)
    elif ram is not None:
        raise typer.BadParameter(f"--ram needs three models ({', '.join(TASKS)}), not {len(facts)}")
    _write(write, names, plans[0], config)


def _found_gpu() -> tuple[int, int, Dtype, int | None]:
    """Return the size of this machine's GPU, the bytes in use, its usual precision, and its measured CUDA context.

    The sizes are zero if it has no GPU; None: no context was measured.
    """
    try:
        from trivet.doctor.machine import read_capability, read_context, read_gpu
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"reading this machine's GPU needs {error.name}: pip install 'trivet[serve]', or give --vram"
        ) from error
    gpu = read_gpu()
    if not gpu.known:
        typer.echo(f"No GPU can be read ({gpu.unknown_reason}).", err=True)
        return 0, 0, "bf16", None
    used_bytes = gpu.total_bytes - gpu.free_bytes
    typer.echo(
        f"GPU {gpu.device}: {format_bytes(gpu.total_bytes)}, of which {format_bytes(used_bytes)} in use.", err=True
    )
    dtype = gpu_precision("auto", read_capability() or AMPERE, None).dtype
    return gpu.total_bytes, used_bytes, dtype, read_context(cache_dir(None))


def _write(file: Path | None, names: Sequence[str], planned: Plan | None, config: AppConfig) -> None:
    if file is None:
        return
    if len(names) != len(TASKS):
        raise typer.BadParameter(f"--write needs three models ({', '.join(TASKS)}), not {len(names)}")
    full = [next((known for known in CATALOGUE if name in (known, known.split("/")[-1])), name) for name in names]
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(configuration(full, planned, config.cpu, file=str(file)))
    except OSError as error:
        typer.echo(f"{file} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"Wrote {file}; next: trivet serve --config {shlex.quote(str(file))}", err=True)
