"""Finds the size of the configured models, and how a GPU would compute them, as far as they are known without a hub."""

from pathlib import Path

from trivet.checkpoint.flat.model import padded_because
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
