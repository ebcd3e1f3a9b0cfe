"""Reads how a checkpoint's token vectors are pooled, where nothing else than normalisation follows."""

from __future__ import annotations

from pathlib import Path

from trivet.checkpoint.modules import MODULES_FILE, read_modules
from trivet.errors import ModelError


def read_pooling_modes(model_dir: Path) -> tuple[str, ...]:
    """Return the pooling modes of a plain embedder, supported or not, in the order of their vectors.

    Raises:
        ModelError: a module other than Transformer, Pooling and a closing Normalize; the message names it.
    """
    modules = read_modules(model_dir, "embedder")
    if modules.steps_before_windows or modules.score or not modules.pooling:
        kinds = [type(step).__name__ for step in modules.steps_before_windows]
        raise ModelError(
            f"{model_dir / MODULES_FILE} has more than pooling and normalisation: {', '.join(kinds) or '-'}"
        )
    return modules.pooling
