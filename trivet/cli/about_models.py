"""Describes the models of a plan: their memory on the CPU, how a GPU computes them, and what their cards state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.card import StatedFacts, weights_bytes
from trivet.checkpoint.flat.model import padded_because
from trivet.checkpoint.hub import fetched
from trivet.checkpoint.memory import ModelFacts
from trivet.config import TASKS, Task
from trivet.errors import ModelError
from trivet.units import format_bytes
from trivet.vram.planning.table import aligned

_CPU_TOKENS = 1024
"""Tokens of a CPU forward, as `cpu.token_budget` has by default."""
_HEADER = ("", "on disk", "CPU, bf16", "CPU, int8", "GPU layout", "licence", "languages")
_UNKNOWN = "?"
_LANGUAGES = 4


def render_about(models: Sequence[ModelFacts]) -> str:
    """Return a table of models, aligned, and what its columns mean.

    Of a model whose files are not on this machine only the memory is known.
    """
    tasks: Sequence[Task | None] = TASKS if len(models) == len(TASKS) else [None] * len(models)
    rows = [_row(facts, task) for facts, task in zip(models, tasks, strict=True)]
    padded = [f"{row[0]} is padded: {reason}." for row, reason in rows if reason]
    return "\n".join(
        (
            *aligned((_HEADER, *(row for row, _ in rows))),
            "",
            f"CPU: weights and the activations of {_CPU_TOKENS:,} tokens or the longest text (estimates), without the "
            "process (docs/memory.md).",
            f"{_UNKNOWN}: not stated, or the model is not on this machine yet.",
            *padded,
        )
    )


def _row(facts: ModelFacts, task: Task | None) -> tuple[tuple[str, ...], str | None]:
    """The cells of a model, and why a GPU pads it."""
    name = facts.name.split("/")[-1]
    tokens = max(_CPU_TOKENS, facts.max_tokens)
    memory = [format_bytes(facts.cpu_bytes(precision, tokens)) for precision in ("bf16", "int8")]
    folder = Path(facts.source) if facts.source else fetched(facts.name)
    if folder is None:
        return (name, _UNKNOWN, *memory, _UNKNOWN, _UNKNOWN, _UNKNOWN), None
    disk_bytes = weights_bytes(folder)
    stated = StatedFacts.read(folder)
    try:
        reason = padded_because(folder, task or _likely_task(folder))
    except ModelError as error:
        reason = error.message
    layout = "packed" if reason is None else "padded"
    disk = _UNKNOWN if disk_bytes is None else format_bytes(disk_bytes)
    return (name, disk, *memory, layout, stated.licence or _UNKNOWN, _listed(stated.languages)), reason


def _listed(languages: Sequence[str]) -> str:
    if len(languages) > _LANGUAGES:
        return f"{len(languages)}"
    return ", ".join(languages) or _UNKNOWN


def _likely_task(folder: Path) -> Task:
    """What a checkpoint is for, as far as its layout tells."""
    architecture = Architecture.read(folder)
    if any(label.lower().startswith("entail") for label in architecture.labels):
        return "classifier"
    is_reranker = "ForSequenceClassification" in architecture.architecture_name or architecture.scores_by_words
    return "reranker" if is_reranker and not (folder / "1_Pooling").is_dir() else "embedder"
