"""Finds how a GPU would compute the configured models, as far as they are on this machine already."""

from pathlib import Path

from trivet.config import TASKS, AppConfig, Task
from trivet.engine.models.flat import padded_because
from trivet.errors import ModelError


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
