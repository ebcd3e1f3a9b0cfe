"""Finds the size of the configured models, and how a GPU would compute them, as far as they are known without a hub."""

import os
from contextlib import suppress
from pathlib import Path

from trivet.checkpoint.files import find_weight_files, read_config
from trivet.checkpoint.flat.model import padded_because, read_body
from trivet.checkpoint.gpu_form import AMPERE, Capability, fp16_overflow, gpu_precision, varlen_refusal
from trivet.checkpoint.hub import fetched
from trivet.checkpoint.memory import ModelFacts
from trivet.config import TASKS, AppConfig, Task
from trivet.errors import ModelError
from trivet.paths import expanded
from trivet.vram.planning.facts import CATALOGUE, facts_for

STARTER_FACTS = CATALOGUE["sentence-transformers/all-MiniLM-L6-v2"]
"""The three starters have this architecture."""


def known_facts(config: AppConfig) -> dict[Task, ModelFacts | None]:
    """Return the facts of each model; None for one that is neither here nor in the catalogue."""
    return {task: _facts(config, config.model_for(task).model) for task in TASKS}


def _facts(config: AppConfig, model: str) -> ModelFacts | None:
    if model == "starter":
        return STARTER_FACTS
    try:
        return facts_for(str(_directory(config, model) or model))
    except ModelError:
        return None


def _directory(config: AppConfig, model: str) -> Path | None:
    """Return the directory that a model is, or that `serving.models_dir` holds of it; None where there is none."""
    kept = expanded(config.serving.models_dir) / model if config.serving.models_dir else None
    return next(
        (found for found in (Path(os.path.expanduser(model)), kept) if found is not None and found.is_dir()), None
    )


def _here(config: AppConfig, task: Task) -> Path | None:
    """Return the folder of a task's model; None for a starter, and for a model that has not been fetched."""
    model = config.model_for(task).model
    return None if model == "starter" else _directory(config, model) or fetched(model)


def unservable_models(config: AppConfig) -> dict[Task, str]:
    """Return the models whose directory cannot be served, and why. What the hub has is not known."""
    found: dict[Task, str] = {}
    folder = expanded(config.serving.models_dir) if config.serving.models_dir else None
    for task in TASKS:
        model = config.model_for(task).model
        directory = None if model == "starter" else _directory(config, model)
        try:
            if directory is not None:
                padded_because(directory, task)
                if model not in config.pickled_models:
                    find_weight_files(directory)
            elif model.startswith(("/", ".", "~")):
                found[task] = f"there is no directory {model}"
            elif model != "starter" and folder is not None and not folder.is_dir():
                found[task] = f"there is no directory {folder} (serving.models_dir)"
        except ModelError as error:
            found[task] = error.message
    return found


def gpu_exceptions(config: AppConfig, capability: Capability | None) -> dict[Task, tuple[str, ...]]:
    """Return what this machine's GPU does otherwise than usual for a model, and why.

    Only models that are here are read.

    Args:
        config: of the service.
        capability: of the GPU. None: it is not known, and none is assumed to lack anything.
    """
    found: dict[Task, tuple[str, ...]] = {}
    assumed = AMPERE if capability is None else capability
    for task in TASKS:
        directory = _here(config, task)
        if directory is None:
            continue
        try:
            about = read_config(directory)
            chosen = gpu_precision(config.gpu.dtype, assumed, fp16_overflow(about))
            body = None if padded_because(directory, task) is not None else read_body(about)
        except ModelError:
            continue  # `unservable_models` says what is wrong with it
        notes = [] if chosen.because is None else [f"computed in {chosen.dtype}: {chosen.because}"]
        refusal = None if body is None else varlen_refusal(assumed, chosen.dtype, body.head_size)
        if refusal is not None:
            notes.append(f"attention is computed on padded sequences: {refusal}")
        if notes:
            found[task] = tuple(notes)
    return found


def padded_models(config: AppConfig) -> dict[Task, str]:
    """Return the models that a GPU computes on padded sequences, and why. Only models that are here are read."""
    found: dict[Task, str] = {}
    for task in TASKS:
        directory = _here(config, task)
        if directory is None:
            continue  # a starter model, which is packed, or a hub id, whose files are not here yet
        with suppress(ModelError):  # `unservable_models` says what is wrong with it
            reason = padded_because(directory, task)
            if reason is not None:
                found[task] = reason
    return found
