"""Says whether the flat modules compute a checkpoint, from its description alone."""

from pathlib import Path

from trivet.checkpoint.files import read_config
from trivet.checkpoint.m3 import M3Heads
from trivet.checkpoint.modules import read_modules
from trivet.config import Task
from trivet.engine.models.flat.architectures import unsupported_reason


def padded_because(model_dir: Path, task: Task, recipe: str | None = None) -> str | None:
    """Return why a checkpoint is computed on padded sequences, through transformers; None where it is not.

    Raises:
        ModelError: a file of the checkpoint cannot be read.
    """
    reason = unsupported_reason(read_config(model_dir), task)
    if reason is not None:
        return reason
    modules = read_modules(model_dir, task, recipe)
    if modules.splade or modules.token_steps or M3Heads.read(model_dir):
        return "it gives more than one vector or number of a text"
    further = [type(step).__name__ for step in (*modules.steps_before_windows, modules.score) if step is not None]
    if further:
        return f"its modules.json has more than a transformer and pooling: {', '.join(further)}"
    return None
