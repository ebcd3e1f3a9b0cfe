"""Divides models among several GPUs of one machine, each model on one of them. Pure."""

from collections.abc import Sequence
from itertools import product

from trivet.checkpoint.memory import Dtype, ModelFacts
from trivet.errors import ConfigError
from trivet.units import format_bytes
from trivet.vram.planning.planner import Assumptions, Plan, needed, plan

_MAX_WAYS = 100_000


def plan_gpus(
    models: Sequence[ModelFacts],
    gpus_bytes: Sequence[int],
    *,
    dtype: Dtype = "bf16",
    assumptions: Assumptions | None = None,
) -> tuple[Plan | None, ...]:
    """Divide `models` among GPUs of these sizes in bytes; None for a GPU that gets no model.

    Of all ways that fit, it takes one that leaves the fullest GPU the most memory. The assumptions hold for every GPU,
    so each leaves the same memory to others.

    Raises:
        DoesNotFit: with one GPU the models do not fit it.
        ConfigError: no way fits, or there are too many ways to try.
    """
    if not gpus_bytes:
        raise ConfigError("a plan needs at least one GPU")
    assume = assumptions or Assumptions()
    if len(gpus_bytes) == 1:
        return (plan(models, gpus_bytes[0], dtype=dtype, assumptions=assume),)
    if len(gpus_bytes) ** len(models) > _MAX_WAYS:
        raise ConfigError(f"{len(models)} models on {len(gpus_bytes)} GPUs: too many ways to divide them")
    ways = product(range(len(gpus_bytes)), repeat=len(models))
    divided = [[_on(models, way, gpu) for gpu in range(len(gpus_bytes))] for way in ways]
    spare_bytes = [
        min(
            size_bytes - needed(chosen, dtype, assume)
            for size_bytes, chosen in zip(gpus_bytes, groups, strict=True)
            if chosen
        )
        for groups in divided
    ]
    best = max(range(len(divided)), key=spare_bytes.__getitem__)
    if spare_bytes[best] < 0:
        sizes = ", ".join(format_bytes(size_bytes) for size_bytes in gpus_bytes)
        raise ConfigError(
            f"{', '.join(facts.name for facts in models)}: no way to divide them among GPUs of {sizes} fits; the best "
            f"one is {format_bytes(-spare_bytes[best])} short on one GPU"
        )
    return tuple(
        plan(chosen, size_bytes, dtype=dtype, assumptions=assume) if chosen else None
        for size_bytes, chosen in zip(gpus_bytes, divided[best], strict=True)
    )


def _on(models: Sequence[ModelFacts], way: Sequence[int], gpu: int) -> list[ModelFacts]:
    return [facts for facts, chosen in zip(models, way, strict=True) if chosen == gpu]
