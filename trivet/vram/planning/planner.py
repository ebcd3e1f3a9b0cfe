"""Divides one GPU among model processes: fractions, caps and token budgets, or a refusal with the numbers. Pure.

    GPU   =  driver  +  left to others  +  kept free  +  Σ per model (CUDA context + cap)
    cap   =  weights  +  workspace  +  activations of one full token budget

*Kept free* is for the policy (`trivet.vram.policy`): if our own processes could fill the GPU, their cached memory alone
would push models below the floor. It defaults to the resume threshold.

Every model gets the same token budget, as large as the rest of the GPU allows, but at least one of its longest
sequences and at most `max_budget_tokens`. `trivet.vram.planning.table` renders the result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from trivet.checkpoint.memory import Dtype, ModelFacts
from trivet.errors import ConfigError
from trivet.gpu import CONTEXT_BYTES
from trivet.units import MIB, format_bytes
from trivet.vram.errors import DoesNotFit
from trivet.vram.planning.facts import CATALOGUE
from trivet.vram.planning.presets import PRESETS, Preset

_BUDGET_STEP_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Sizes that a plan assumes, in bytes; each can be set."""

    context_bytes: int = CONTEXT_BYTES
    """One CUDA context with its loaded kernels, per process."""
    context_is_measured: bool = False
    """Whether a GPU replica has measured it on the GPU that is planned."""
    workspace_bytes: int = 64 * MIB
    """Scratch space of the matrix libraries, per process."""
    driver_bytes: int = 256 * MIB
    """Memory that driver and firmware reserve before any process starts."""
    kept_free_bytes: int = 1024 * MIB
    """Memory that must stay free for models to stay on the GPU: the policy's resume threshold."""
    external_bytes: int = 0
    """Memory left to other processes, such as a desktop or an LLM server."""
    max_budget_tokens: int = 16_384
    """Larger batches gain nothing."""

    @classmethod
    def measured(cls, context_bytes: int) -> Self:
        """Return the assumptions for a GPU on which a context has been measured."""
        return cls(context_bytes=context_bytes, context_is_measured=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """One model's share of the GPU."""

    model: str
    dtype: Dtype
    weights_bytes: int
    activation_bytes_per_token: int
    budget_tokens: int
    """Padded tokens in one forward."""
    context_bytes: int
    cap_bytes: int
    """Limit of the allocator in the model's process."""
    memory_fraction: float
    """`cap_bytes` as a share of the GPU; as `torch.cuda.set_per_process_memory_fraction` gets it, but for rounding."""
    num_gpus: float
    """The share of the GPU that is configured (`gpu_fraction`) and that Ray reserves: context and cap, rounded up to
    thousandths."""
    dtype_because: str | None = None
    """Why it cannot be computed in fp16, where it is computed in fp32."""

    @property
    def activation_bytes(self) -> int:
        """Activations of one full token budget."""
        return self.activation_bytes_per_token * self.budget_tokens

    @property
    def process_bytes(self) -> int:
        """Maximum GPU memory of the process."""
        return self.context_bytes + self.cap_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A division of the GPU that fits."""

    gpu_bytes: int
    assumptions: Assumptions
    models: tuple[ModelPlan, ...]

    @property
    def taken_bytes(self) -> int:
        """Maximum GPU memory of all processes together."""
        return sum(model.process_bytes for model in self.models)

    @property
    def unplanned_bytes(self) -> int:
        """Memory left after everything planned, including the part kept free."""
        return self.gpu_bytes - _set_aside_bytes(self.assumptions) - self.taken_bytes


def plan(
    models: Sequence[ModelFacts],
    gpu_bytes: int,
    *,
    dtype: Dtype = "bf16",
    assumptions: Assumptions | None = None,
) -> Plan:
    """Divide a GPU of `gpu_bytes` among `models`.

    Raises `DoesNotFit`, with the numbers and the nearest preset that fits, and `ConfigError` if `models` is empty or
    repeats a model.
    """
    assume = assumptions or Assumptions()
    if not models:
        raise ConfigError("a plan needs at least one model")
    if len({facts.name for facts in models}) != len(models):
        raise ConfigError("a plan must name each model only once")
    needed_bytes = needed(models, dtype, assume)
    if needed_bytes > gpu_bytes:
        raise _refusal(models, gpu_bytes, dtype, assume, needed_bytes)
    budgets = _budgets(models, gpu_bytes, dtype, assume)
    return Plan(
        gpu_bytes=gpu_bytes,
        assumptions=assume,
        models=tuple(
            _share(facts, tokens, gpu_bytes, dtype, assume) for facts, tokens in zip(models, budgets, strict=True)
        ),
    )


def needed(models: Sequence[ModelFacts], dtype: Dtype, assume: Assumptions) -> int:
    """Return the size of the smallest GPU that fits these models, each running one longest sequence at a time."""
    return _set_aside_bytes(assume) + sum(
        _fixed_bytes(facts, dtype, assume) + _floor_tokens(facts) * _per_token_bytes(facts, dtype) for facts in models
    )


def _set_aside_bytes(assume: Assumptions) -> int:
    return assume.driver_bytes + assume.external_bytes + assume.kept_free_bytes


def _fixed_bytes(facts: ModelFacts, dtype: Dtype, assume: Assumptions) -> int:
    return assume.context_bytes + assume.workspace_bytes + facts.weights_bytes(facts.gpu_dtype(dtype))


def _per_token_bytes(facts: ModelFacts, dtype: Dtype) -> int:
    return facts.activation_bytes_per_token(facts.gpu_dtype(dtype))


def _floor_tokens(facts: ModelFacts) -> int:
    steps = -(-facts.max_tokens // _BUDGET_STEP_TOKENS)
    return steps * _BUDGET_STEP_TOKENS


def _budgets(models: Sequence[ModelFacts], gpu_bytes: int, dtype: Dtype, assume: Assumptions) -> tuple[int, ...]:
    """Return the budget per model: a common number of tokens, or the model's floor if that is larger.

    The common number is the largest multiple of the step with which everything fits. The total grows with it, so
    bisection finds it.
    """
    fixed_bytes = _set_aside_bytes(assume) + sum(_fixed_bytes(facts, dtype, assume) for facts in models)
    per_token = [_per_token_bytes(facts, dtype) for facts in models]
    floors = [_floor_tokens(facts) for facts in models]

    def budgets(common_tokens: int) -> tuple[int, ...]:
        return tuple(max(floor, common_tokens) for floor in floors)

    def fits(steps: int) -> bool:
        chosen = budgets(steps * _BUDGET_STEP_TOKENS)
        return fixed_bytes + sum(b * t for b, t in zip(per_token, chosen, strict=True)) <= gpu_bytes

    low, high = 0, assume.max_budget_tokens // _BUDGET_STEP_TOKENS  # zero steps fit: `plan` has checked `needed`
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return budgets(low * _BUDGET_STEP_TOKENS)


def _share(facts: ModelFacts, tokens: int, gpu_bytes: int, dtype: Dtype, assume: Assumptions) -> ModelPlan:
    dtype = facts.gpu_dtype(dtype)
    per_token = facts.activation_bytes_per_token(dtype)
    cap_bytes = facts.weights_bytes(dtype) + assume.workspace_bytes + tokens * per_token
    thousandths = -(-(assume.context_bytes + cap_bytes) * 1000 // gpu_bytes)
    return ModelPlan(
        model=facts.name,
        dtype=dtype,
        weights_bytes=facts.weights_bytes(dtype),
        activation_bytes_per_token=per_token,
        budget_tokens=tokens,
        context_bytes=assume.context_bytes,
        cap_bytes=cap_bytes,
        memory_fraction=cap_bytes / gpu_bytes,
        num_gpus=thousandths / 1000,
        dtype_because=facts.fp16_overflow if dtype == "fp32" else None,
    )


def fitting_preset(
    gpu_bytes: int, dtype: Dtype, assume: Assumptions, left_bytes: Callable[[Preset], int]
) -> tuple[Preset, bool] | None:
    """Return the most demanding preset that fits a GPU, and whether with its smaller models; None where none does.

    The usual models come before the smaller ones, and of the presets with the same models the one for the largest GPU.

    Args:
        gpu_bytes: size of the GPU.
        dtype: of weights and activations.
        assume: what else takes memory.
        left_bytes: what a preset leaves to other processes, instead of what `assume` says.
    """
    for smaller in (False, True):
        for preset in reversed(list(PRESETS.values())):
            names = preset.smaller_models if smaller else preset.models
            beside = replace(assume, external_bytes=left_bytes(preset))
            if preset.gpu_bytes and needed([CATALOGUE[name] for name in names], dtype, beside) <= gpu_bytes:
                return preset, smaller
    return None


def nearest_preset(gpu_bytes: int, dtype: Dtype, assume: Assumptions) -> str:
    """Return the options of the most demanding preset that fits this GPU ("8gb", "8gb --smaller"), or "cpu"."""
    found = fitting_preset(gpu_bytes, dtype, assume, lambda preset: max(assume.external_bytes, preset.external_bytes))
    if found is None:
        return "cpu"
    preset, smaller = found
    return f"{preset.name} --smaller" if smaller else preset.name


def _refusal(
    models: Sequence[ModelFacts], gpu_bytes: int, dtype: Dtype, assume: Assumptions, needed_bytes: int
) -> DoesNotFit:
    weights_bytes = sum(facts.weights_bytes(facts.gpu_dtype(dtype)) for facts in models)
    per_process_bytes = len(models) * (assume.context_bytes + assume.workspace_bytes)
    forwards_bytes = needed_bytes - _set_aside_bytes(assume) - weights_bytes - per_process_bytes
    preset = nearest_preset(gpu_bytes, dtype, assume)
    parts = (
        (weights_bytes, f"weights at {' and '.join(dict.fromkeys(facts.gpu_dtype(dtype) for facts in models))}"),
        (forwards_bytes, "one longest sequence each"),
        (per_process_bytes, f"CUDA contexts and workspaces of {len(models)} processes"),
        (assume.driver_bytes, "the driver"),
        (assume.external_bytes, "others"),
        (assume.kept_free_bytes, "kept free"),
    )
    sums = " + ".join(f"{format_bytes(size_bytes)} {what}" for size_bytes, what in parts if size_bytes)
    return DoesNotFit(
        f"{', '.join(facts.name for facts in models)}: {format_bytes(needed_bytes)} needed ({sums}), the GPU has "
        f"{format_bytes(gpu_bytes)}: {format_bytes(needed_bytes - gpu_bytes)} short. "
        f"The nearest preset that fits is {preset}.",
        needed_bytes=needed_bytes,
        gpu_bytes=gpu_bytes,
        nearest_preset=preset,
    )
