"""Everything that a checkpoint's files say about how to use it. Reads JSON only, no weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.files import read_object
from trivet.checkpoint.forms import check_forms
from trivet.checkpoint.pooling import ends_in_normalize, read_pooling_modes
from trivet.config import Task
from trivet.errors import ModelError

_UNSET_LENGTH = 10**9
"""tokenizer_config.json writes about 1e30 for "no limit"."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A checkpoint directory in Hugging Face (or sentence-transformers) layout, read for one task."""

    path: Path
    task: Task
    architecture: Architecture
    max_tokens: int
    """The smallest limit that the files and the configuration state."""
    dimensions: int
    """Size of an embedder's vectors: the hidden size once for each pooling mode. 0 for other tasks."""
    normalize: bool = False
    """Whether the embedder's own modules end in L2 normalisation."""
    pooling: tuple[str, ...] = ()
    """How an embedder pools a window's tokens into one vector."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label → index, as in the checkpoint."""

    @classmethod
    def read(cls, path: Path, task: Task, max_tokens: int | None = None) -> Self:
        """Read the directory.

        Args:
            path: the checkpoint directory.
            task: the task that it is to serve.
            max_tokens: a lower limit than the files allow, from the configuration.

        Raises:
            ModelError: a file is missing, or the checkpoint cannot serve the task.
        """
        architecture = Architecture.read(path)
        check_forms(path)
        limit = _token_limit(path, architecture)
        if max_tokens is not None and max_tokens > limit:
            raise ModelError(f"max_tokens {max_tokens} is more than {path.name} takes ({limit})")
        labels = architecture.labels
        prompts = read_object(path / "config_sentence_transformers.json")
        pooling = read_pooling_modes(path) if task == "embedder" else ()
        if task == "reranker" and len(labels) > 1:
            raise ModelError(f"{path.name} has {len(labels)} outputs ({', '.join(labels)}); a reranker has one")
        return cls(
            path=path,
            task=task,
            architecture=architecture,
            max_tokens=max_tokens or limit,
            dimensions=architecture.hidden_size * len(pooling) if task == "embedder" else 0,
            normalize=ends_in_normalize(path),
            pooling=pooling,
            prompts=dict(prompts.get("prompts") or {}),
            default_prompt_name=prompts.get("default_prompt_name"),
            labels=labels,
        )

    def entailment(self) -> tuple[int, int]:
        """Return the indices of the entailment logit and of its opposite.

        The opposite is the one that the zero-shot pipeline of transformers takes: index 0, or the last index where
        entailment itself is index 0.

        Raises:
            ModelError: no label begins with "entail".
        """
        for label, index in self.labels.items():
            if label.lower().startswith("entail"):
                return index, (len(self.labels) - 1 if index == 0 else 0)
        raise ModelError(
            f"{self.path.name} has no entailment label, so it cannot classify by hypotheses; "
            f"its labels are {sorted(self.labels)}"
        )

    def prompt(self, name: str | None) -> str:
        """Return the prompt of this name; `document` and `passage` mean the same.

        Args:
            name: None means the model's default prompt.

        Returns:
            An empty string if there is no prompt.

        Raises:
            KeyError: the model has prompts, but none of this name.
        """
        name = name or self.default_prompt_name
        if name is None:
            return ""
        for alias in (name, *_PROMPT_ALIASES.get(name, ())):
            if alias in self.prompts:
                return self.prompts[alias]
        if not self.prompts and name in ("query", "document"):
            return ""  # a model without prompts treats both sides alike
        raise KeyError(name)

    def prompt_of_type(self, input_type: str | None) -> str:
        """Return the prompt for texts of a kind.

        Many models have a prompt for queries alone: documents then get the default prompt, and the other way round.

        Raises:
            KeyError: as `prompt`, for a kind other than `query` and `document`.
        """
        try:
            return self.prompt(input_type)
        except KeyError:
            if input_type not in ("query", "document"):
                raise
            return self.prompt(None)


_PROMPT_ALIASES = {
    "query": ("search_query",),
    "document": ("passage", "search_document", "corpus"),
    "passage": ("document",),
}


def _token_limit(path: Path, architecture: Architecture) -> int:
    """The smallest of the limits that the files state."""
    limits = [] if architecture.max_tokens is None else [architecture.max_tokens]
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value: Any = read_object(path / file).get(key)
        if value and value < _UNSET_LENGTH:
            limits.append(int(value))
    if not limits:
        raise ModelError(f"{path.name} states no maximum length; set max_tokens in the configuration")
    return min(limits)
