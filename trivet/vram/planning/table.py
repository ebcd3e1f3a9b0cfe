"""Renders a plan as a human-readable table."""

from collections.abc import Sequence

from trivet.units import format_bytes
from trivet.vram.planning.planner import Plan

HEADER = ("", "weights", "activations", "token budget", "context", "process", "memory fraction", "num_gpus")


def rows(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the table's rows without the header: one per model, then the rest of the GPU, then its total."""
    assume = plan.assumptions
    shares = tuple(
        (
            model.model.split("/")[-1],
            format_bytes(model.weights_bytes),
            format_bytes(model.activation_bytes),
            f"{model.budget_tokens:,}",
            format_bytes(model.context_bytes),
            format_bytes(model.process_bytes),
            f"{model.memory_fraction:.3f}",
            f"{model.num_gpus:.3f}",
        )
        for model in plan.models
    )
    rest = tuple(
        _only_process(what, size_bytes)
        for what, size_bytes in (
            ("driver and firmware (assumed)", assume.driver_bytes),
            ("left to others", assume.external_bytes),
            ("kept free for the policy", assume.kept_free_bytes),
            ("not planned for", plan.unplanned_bytes),
            ("the GPU", plan.gpu_bytes),
        )
    )
    return shares + rest


def render(plan: Plan) -> str:
    """Return the plan as an aligned table, followed by its assumptions."""
    context, workspace = map(format_bytes, (plan.assumptions.context_bytes, plan.assumptions.workspace_bytes))
    known = "measured on this GPU" if plan.assumptions.context_is_measured else "assumed"
    return "\n".join(
        (
            *aligned((HEADER, *rows(plan))),
            "",
            f"At {_precisions(plan)}. A process holds its CUDA context ({known}: {context}) and its cap.",
            f"A cap covers the weights, the activations of one full token budget and {workspace} of workspace.",
            "Activations are estimates.",
            *(
                f"{model.model.split('/')[-1]} is computed in {model.dtype}: {model.dtype_because}."
                for model in plan.models
                if model.dtype_because is not None
            ),
        )
    )


def _precisions(plan: Plan) -> str:
    return " and ".join(dict.fromkeys(model.dtype for model in plan.models))


def _only_process(what: str, size_bytes: int) -> tuple[str, ...]:
    return tuple({0: what, HEADER.index("process"): format_bytes(size_bytes)}.get(i, "") for i in range(len(HEADER)))


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Left-align the first column, right-align the others, and draw a rule under the header."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
