"""The host memory of a plan: what the service needs, compared with what a machine has."""

import sys
from collections.abc import Sequence

import typer
from pydantic import ValidationError

from trivet.checkpoint.memory import ModelFacts
from trivet.cli.config_file import what_is_wrong
from trivet.config import TASKS, AppConfig, ReplicaBounds
from trivet.doctor.memory import MemoryNeed, memory_need, precision_of
from trivet.units import format_bytes


def cpu_settings(replicas: str, precision: str | None) -> AppConfig:
    """Read `--cpu-replicas` and `--cpu-precision` as a configuration.

    Raises:
        typer.BadParameter: one of them is not valid.
    """
    least, dash, most = replicas.partition("-")
    try:
        bounds = {"min": int(least), "max": int(most if dash else least)}
        return AppConfig.model_validate({"cpu": {"replicas": bounds, "precision": precision or "auto"}})
    except ValidationError as error:
        raise typer.BadParameter(what_is_wrong(error)) from error
    except ValueError as error:
        raise typer.BadParameter(f"{replicas!r} is neither a number of replicas nor bounds such as 1-4") from error


def need_of(config: AppConfig, models: Sequence[ModelFacts], *, with_gpu: bool) -> MemoryNeed:
    """Return what a service of three models (embedder, reranker, classifier) needs."""
    facts = dict(zip(TASKS, models, strict=True))
    return memory_need(config, facts, precision_of(config, _this_processor()), with_gpu=with_gpu)


def check(need: MemoryNeed, replicas: ReplicaBounds, available_bytes: int | None) -> None:
    """Print what the service needs, and a warning where its peak does not fit.

    Args:
        need: of the service.
        replicas: CPU replicas of each model.
        available_bytes: memory of the machine that is to run it; None: it is not known, and nothing is compared.

    Raises:
        typer.Exit: not even the service at rest fits.
    """
    line = f"Host memory: {need} (CPU replicas of each model: {replicas}; {format_bytes(need.replica_bytes)} for each)."
    typer.echo(line)
    if available_bytes is None:
        return
    shortage = need.shortage(available_bytes)
    if shortage == "rest":
        typer.echo(
            f"Cannot plan: {format_bytes(available_bytes)} of host memory available, {format_bytes(need.rest_bytes)} "
            "needed at rest: choose smaller models, fewer CPU replicas, or --cpu-precision int8",
            err=True,
        )
        raise typer.Exit(code=1)
    if shortage == "peak":
        typer.echo(
            f"Warning: {format_bytes(available_bytes)} of host memory available, {format_bytes(need.peak_bytes)} "
            "needed while all CPU replicas compute: the machine would swap or end a process",
            err=True,
        )


def available_here() -> int | None:
    """Return the available memory of this machine; None where that cannot be read."""
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    return int(psutil.virtual_memory().available)


def _this_processor() -> frozenset[str]:
    if sys.platform != "linux":
        return frozenset()
    try:
        from trivet.doctor.machine import this_processors_flags
    except ModuleNotFoundError:  # the base installation
        return frozenset()
    return this_processors_flags()
