"""Finds the size of the configured models, and how a GPU would compute them, as far as they are known without a hub."""

from pathlib import Path

from trivet.checkpoint.files import read_config
from trivet.checkpoint.flat.model import padded_because, read_body
from trivet.checkpoint.gpu_form import AMPERE, Capability, fp16_overflow, gpu_precision, varlen_refusal
from trivet.checkpoint.memory import ModelFacts
from trivet.config import TASKS, AppConfig, Task
from trivet.errors import ModelError
from trivet.vram.planning.facts import CATALOGUE, facts_for

STARTER_FACTS = CATALOGUE["sentence-transformers/all-MiniLM-L6-v2"]
"""The three starters have this architecture."""


def known_facts(config: AppConfig) -> dict[Task, ModelFacts | None]:
    """Return the facts of each model; None for one that is neither here nor in the catalogue."""
    return {task: _facts(config, config.model_for(task).model) for task in TASKS}


def _facts(config: AppConfig, model: str) -> ModelFacts | None:
    if model == "starter":
        return STARTER_FACTS
    kept = Path(config.serving.models_dir or ".").expanduser() / model
    try:
        return facts_for(str(kept) if config.serving.models_dir and kept.is_dir() else str(Path(model).expanduser()))
    except ModelError:
        return None


def gpu_exceptions(config: AppConfig, capability: Capability | None) -> dict[Task, tuple[str, ...]]:
    """Return what this machine's GPU does otherwise than usual for a model, and why. Only directories are read.

    Args:
        config: of the service.
        capability: of the GPU. None: it is not known, and none is assumed to lack anything.
    """
    found: dict[Task, tuple[str, ...]] = {}
    assumed = AMPERE if capability is None else capability
    for task in TASKS:
        directory = Path(config.model_for(task).model).expanduser()
        if not directory.is_dir():
            continue
        try:
            about = read_config(directory)
            chosen = gpu_precision(config.gpu.dtype, assumed, fp16_overflow(about))
            body = None if padded_because(directory, task) is not None else read_body(about)
        except ModelError:
            continue  # `padded_models` says what is wrong with it
        notes = [] if chosen.because is None else [f"computed in {chosen.dtype}: {chosen.because}"]
        refusal = None if body is None else varlen_refusal(assumed, chosen.dtype, body.head_size)
        if refusal is not None:
            notes.append(f"attention is computed on padded sequences: {refusal}")
        if notes:
            found[task] = tuple(notes)
    return found


def padded_models(config: AppConfig) -> dict[Task, str]:
    """Return the models that a GPU computes on padded sequences, and why. Only directories are read."""
    found: dict[Task, str] = {}
    for task in TASKS:
        directory = Path(config.model_for(task).model).expanduser()
        if not directory.is_dir():
            continue  # a starter model, which is packed, or a hub id, whose files may not be here yet
        try:
            reason = padded_because(directory, task)
        except ModelError as error:
            reason = error.message
        if reason is not None:
            found[task] = reason
    return found
