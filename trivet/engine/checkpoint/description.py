"""What a model's own files say about how to use it: limits, prompts, pooling, labels. JSON only, no weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trivet.config import Task
from trivet.engine.checkpoint.pooling import read_pooling_modes
from trivet.errors import ModelError

_UNSET_LENGTH = 10**9
"""tokenizer_config.json writes about 1e30 for "no limit"."""
_OFFSET_POSITION_MODELS = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer"})
"""Architectures whose positions start at pad_token_id + 1, so that 514 positions hold 512 tokens."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Facts read from a checkpoint directory in Hugging Face (or sentence-transformers) layout."""

    path: Path
    task: Task
    model_type: str
    max_tokens: int
    pad_id: int | None
    dimensions: int
    """Of an embedder's vectors: the hidden size once for each way of pooling, side by side. 0 for other tasks."""
    normalize: bool = False
    """Whether the embedder's own modules end in L2 normalisation."""
    pooling: tuple[str, ...] = ()
    """How an embedder makes one vector of a window's tokens."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label → index, as in the checkpoint."""

    @classmethod
    def read(cls, path: Path, task: Task, max_tokens: int | None = None) -> Self:
        """Read the directory; ModelError names what is missing or unusable.

        Args:
            path: the checkpoint directory.
            task: what it is to be used for.
            max_tokens: a lower limit than the files allow, from the configuration.
        """
        config = _json(path / "config.json", required=True)
        limit = _token_limit(path, config)
        if max_tokens is not None and max_tokens > limit:
            raise ModelError(f"max_tokens {max_tokens} is more than {path.name} takes ({limit})")
        labels = {str(label): int(index) for index, label in (config.get("id2label") or {}).items()}
        prompts = _json(path / "config_sentence_transformers.json")
        pooling = read_pooling_modes(path) if task == "embedder" else ()
        if task == "reranker" and len(labels) > 1:
            raise ModelError(f"{path.name} has {len(labels)} outputs ({', '.join(labels)}); a reranker has one")
        return cls(
            path=path,
            task=task,
            model_type=str(config.get("model_type", "")),
            max_tokens=max_tokens or limit,
            pad_id=config.get("pad_token_id"),
            dimensions=_hidden_size(path, config) * len(pooling) if task == "embedder" else 0,
            normalize=_ends_in_normalize(path),
            pooling=pooling,
            prompts=dict(prompts.get("prompts") or {}),
            default_prompt_name=prompts.get("default_prompt_name"),
            labels=labels,
        )

    def entailment(self) -> tuple[int, int]:
        """Indices of the entailment logit and of the one it is weighed against.

        The opposite is what the zero-shot pipeline of transformers takes: the last label, or the first where
        entailment itself is last... that is, index 0 unless entailment is 0.
        """
        for label, index in self.labels.items():
            if label.lower().startswith("entail"):
                return index, (len(self.labels) - 1 if index == 0 else 0)
        raise ModelError(
            f"{self.path.name} has no entailment label, so it cannot classify by hypotheses; "
            f"its labels are {sorted(self.labels)}"
        )

    def prompt(self, name: str | None) -> str:
        """The prompt called `name`; `document` and `passage` are two words for one thing.

        None means the model's default prompt. An empty string is no prompt. KeyError if there is no such prompt
        in a model that has some.
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
        """The prompt for texts of a kind. Many models have one for queries alone: the other kind gets the default.

        KeyError as `prompt`, for anything but `query` and `document`.
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


def _json(file: Path, *, required: bool = False) -> dict[str, Any]:
    if not file.is_file():
        if required:
            raise ModelError(f"{file} is missing: not a model directory")
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} should hold an object")
    return content


def _token_limit(path: Path, config: Mapping[str, Any]) -> int:
    """The smallest of the limits that the files state."""
    limits = []
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions:
        offset = 0
        if config.get("model_type") in _OFFSET_POSITION_MODELS:
            offset = int(config.get("pad_token_id", 1)) + 1
        limits.append(int(positions) - offset)
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = _json(path / file).get(key)
        if value and value < _UNSET_LENGTH:
            limits.append(int(value))
    if config.get("max_trained_positions"):
        limits.append(int(config["max_trained_positions"]))
    if not limits:
        raise ModelError(f"{path.name} states no maximum length; set max_tokens in the configuration")
    return min(limits)


def _hidden_size(path: Path, config: Mapping[str, Any]) -> int:
    """Features of one token. DistilBERT calls them `dim`, GPT-2 `n_embd`."""
    for field_name in ("hidden_size", "n_embd", "dim"):
        if config.get(field_name):
            return int(config[field_name])
    raise ModelError(f"{path.name}: config.json states no hidden_size")


def _ends_in_normalize(path: Path) -> bool:
    modules_file = path / "modules.json"
    if not modules_file.is_file():
        return False
    modules = json.loads(modules_file.read_text())
    return bool(modules) and str(modules[-1]["type"]).endswith("Normalize")
