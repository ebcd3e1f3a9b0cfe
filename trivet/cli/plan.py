"""`trivet plan`: divides a GPU among models, or explains why they do not fit. Reads no GPU and downloads nothing."""

from dataclasses import replace
from typing import Annotated

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from trivet.errors import ConfigError, ModelError
from trivet.vram.planning.facts import DTYPES, Dtype, facts_for
from trivet.vram.planning.planner import Assumptions
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


def plan_command(
    vram: Annotated[
        str | None, typer.Option(help="Memory of the GPU, such as 8GiB. Default: that of the preset.")
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(help="Memory of several GPUs, such as 8GiB,8GiB, instead of --vram.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Models, separated by commas: catalogue names or local directories.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"One of {', '.join(PRESETS)}, instead of --models.")] = None,
    smaller: Annotated[bool, typer.Option(help="Use the preset's smaller models.")] = False,
    dtype: Annotated[str, typer.Option(help=f"Precision of weights and activations: {', '.join(DTYPES)}.")] = "bf16",
    external: Annotated[
        str | None, typer.Option(help="Memory to leave to other processes. Default: that of the preset, or 0.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Size of one CUDA context. Default: 450MiB, an assumption.")
    ] = None,
) -> None:
    """Divide a GPU among models: caps, fractions and token budgets. Exits with 1 if they do not fit."""
    if (models is None) == (preset is None):
        raise typer.BadParameter("give either --models or --preset")
    if smaller and preset is None:
        raise typer.BadParameter("--smaller requires --preset")
    names: tuple[str, ...]
    if vram is not None and gpus is not None:
        raise typer.BadParameter("give either --vram or --gpus")
    gpu_bytes = None if vram is None else _size(vram)
    external_bytes = None if external is None else _size(external)
    if preset is not None:
        if preset not in PRESETS:
            raise typer.BadParameter(f"{preset!r} is not one of {', '.join(PRESETS)}")
        chosen = PRESETS[preset]
        names = chosen.smaller_models if smaller else chosen.models
        gpu_bytes = chosen.gpu_bytes if gpu_bytes is None else gpu_bytes
        external_bytes = chosen.external_bytes if external_bytes is None else external_bytes
        if gpu_bytes == 0 and gpus is None:
            typer.echo(f"cpu ({chosen.purpose}): no GPU to divide. Models: {', '.join(names)}")
            return
    else:
        names = tuple(name.strip() for name in (models or "").split(",") if name.strip())
    if gpu_bytes is None and gpus is None:
        raise typer.BadParameter("--models requires --vram or --gpus")
    sizes_bytes = [gpu_bytes or 0] if gpus is None else [_size(size) for size in gpus.split(",")]
    assumptions = Assumptions(external_bytes=external_bytes or 0)
    if context is not None:
        assumptions = replace(assumptions, context_bytes=_size(context))
    try:
        facts = [facts_for(name) for name in names]
        plans = plan_gpus(facts, sizes_bytes, dtype=_dtype(dtype), assumptions=assumptions)
        for index, one in enumerate(plans):
            if len(plans) > 1:
                typer.echo(f"GPU {index}:" if one else f"GPU {index}: no model")
            if one is not None:
                typer.echo(render(one))
    except (ConfigError, ModelError) as error:
        typer.echo(f"Cannot plan: {error}", err=True)
        raise typer.Exit(code=1) from error
