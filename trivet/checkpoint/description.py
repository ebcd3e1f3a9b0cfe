"""Everything that a checkpoint's files say about how to use it. Reads JSON and templates only, no weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.files import read_object
from trivet.checkpoint.forms import check_forms
from trivet.checkpoint.late_interaction import LateInteraction, read_late_interaction
from trivet.checkpoint.m3 import M3Heads, pickled_heads
from trivet.checkpoint.modules import Modules, TransformerSettings, read_modules, read_transformer_settings
from trivet.checkpoint.recipes import SPLADE
from trivet.checkpoint.templates import KNOWN, PairTemplate, read_chat_template
from trivet.config import Output, Task
from trivet.errors import ModelError
from trivet.prompts import named_prompt, prompt_for_type

PROMPTS_FILE = "config_sentence_transformers.json"
ADAPTER_FILE = "adapter_config.json"
"""The file of peft that makes transformers load an adapter into the model."""
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
    """Size of an embedder's vectors. 0 for other tasks."""
    trained_dimensions: tuple[int, ...] = ()
    """Smaller sizes for which the files say that the model was trained."""
    normalize: bool = False
    """Whether the embedder's own modules end in L2 normalisation."""
    pooling: tuple[str, ...] = ()
    """How an embedder pools a window's tokens into one vector."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label → index, as in the checkpoint."""
    template: PairTemplate | None = None
    """The prompt in which a reranker reads a pair; None where the tokenizer joins the two texts."""
    recipe: str | None = None
    """How the checkpoint is used where no file says so, of `trivet.checkpoint.recipes.RECIPES`."""
    outputs: tuple[Output, ...] = ()
    """What an embedder can make of a text, the most usual first."""
    token_dimensions: int = 0
    """Size of the vectors of tokens. 0 if there are none."""
    is_splade: bool = False
    """Whether sparse weights are numbers of a sequence, one for each entry of the vocabulary; else of its tokens."""
    late: LateInteraction | None = None
    """How a late-interaction model reads queries and documents; None for other models."""
    unread: tuple[str, ...] = ()
    """Files of heads that are pickles, which are read only of models that the configuration names."""

    @classmethod
    def read(
        cls,
        path: Path,
        task: Task,
        max_tokens: int | None = None,
        *,
        recipe: str | None = None,
        prompts: Mapping[str, str] | None = None,
        trained_dimensions: tuple[int, ...] = (),
    ) -> Self:
        """Read the directory.

        Args:
            path: the checkpoint directory.
            task: the task that it is to serve.
            max_tokens: a lower limit than the files allow, from the configuration.
            recipe: how it is used where no file says so, of `trivet.checkpoint.recipes.RECIPES`: the template of a
                reranker, or a SPLADE.
            prompts: of an embedder, from the configuration; they replace those of the files.
            trained_dimensions: of an embedder, from the configuration; those of the files are added.

        Raises:
            ModelError: a file is missing, or the checkpoint cannot serve the task.
        """
        architecture = Architecture.read(path)
        check_forms(path)
        if (path / ADAPTER_FILE).is_file():
            raise ModelError(
                f"{path / ADAPTER_FILE}: a LoRA adapter beside the weights is not applied; merge it into them (peft: "
                "merge_and_unload)"
            )
        settings = read_transformer_settings(path)
        limit = _token_limit(path, architecture, settings)
        if max_tokens is not None and max_tokens > limit:
            raise ModelError(f"max_tokens {max_tokens} is more than {path.name} takes ({limit})")
        stated = read_object(path / PROMPTS_FILE)
        if prompts is None:
            _check_default_prompt(path, stated)
        modules = read_modules(path, task, recipe)
        late = read_late_interaction(path, modules, settings)
        common: dict[str, Any] = {
            "path": path,
            "task": task,
            "architecture": architecture,
            "max_tokens": max_tokens or limit,
            "labels": architecture.labels,
            "late": late,
        }
        if late is not None:
            common |= {"outputs": ("tokens",), "token_dimensions": modules.output_size(architecture.hidden_size)}
        if late is not None and prompts is None:
            common["prompts"] = _marked(dict(stated.get("prompts") or {}), late)
        if task == "embedder":
            _check_embedder(path, modules, settings)
            if late is not None:
                default = stated.get("default_prompt_name") if prompts is None else None
                return cls(**({"prompts": prompts or {}} | common), dimensions=0, default_prompt_name=default)
            if modules.splade is not None:
                common |= {"outputs": ("sparse",), "is_splade": True, "recipe": recipe if recipe == SPLADE else None}
            else:
                common |= _outputs_of_pooled(path)
            return cls(
                **common,
                dimensions=0 if modules.splade else modules.output_size(architecture.token_vector_size),
                trained_dimensions=tuple(sorted({*_trained_dimensions(architecture), *trained_dimensions})),
                normalize=modules.ends_in_normalize,
                pooling=modules.pooling,
                prompts=dict(stated.get("prompts") or {}) if prompts is None else dict(prompts),
                default_prompt_name=stated.get("default_prompt_name") if prompts is None else None,
            )
        if task == "classifier":
            return cls(**common, dimensions=0)
        if late is not None:
            return cls(**common, dimensions=0)
        if (default := stated.get("default_prompt_name")) and stated["prompts"][default]:
            raise ModelError(
                f"{path / PROMPTS_FILE}: default_prompt_name is {default!r}; prompts of rerankers are not supported"
            )
        _check_reranker(path, architecture, modules)
        if settings.reads_messages:
            return cls(**common, dimensions=0, template=read_chat_template(path))
        if recipe is None and architecture.is_causal_family:
            raise ModelError(
                f"{path.name} is a reranker of type {architecture.model_type}, which reads pairs inside a prompt, and "
                f"its files have none; set reranker.template to one of {', '.join(KNOWN)}"
            )
        known = None if recipe is None else KNOWN[recipe].template
        return cls(**common, dimensions=0, template=known, recipe=recipe)

    def entailment(self) -> tuple[int, int]:
        """Return the indices of the entailment logit and of its opposite.

        The opposite is the one that the zero-shot pipeline of transformers takes: index 0, or the last index where
        entailment itself is index 0.

        Raises:
            ModelError: no label begins with "entail".
        """
        self._check_label_indices()
        for label, index in self.labels.items():
            if label.lower().startswith("entail"):
                return index, (len(self.labels) - 1 if index == 0 else 0)
        raise ModelError(
            f"{self.path.name} has no entailment label, so it cannot classify by hypotheses; "
            f"its labels are {sorted(self.labels)}"
        )

    def _check_label_indices(self) -> None:
        """Refuse two different orders of labels: libraries look some up in the one and some in the other."""
        stated = self.architecture.config.get("label2id")
        if isinstance(stated, dict) and stated != dict(self.labels):
            raise ModelError(
                f"{self.path / 'config.json'}: label2id is {stated}, and id2label says {dict(self.labels)}; one of "
                "them is wrong"
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
        found = named_prompt(self.prompts, name)
        if found is not None:
            return self.prompts[found]
        if not self.prompts and name in ("query", "document"):
            return ""  # a model without prompts treats both sides alike
        raise KeyError(name)

    def prompt_of_type(self, input_type: str | None) -> str:
        """Return the prompt for texts of a kind; see `trivet.prompts.prompt_for_type`.

        Raises:
            KeyError: as `prompt`, for a kind other than `query` and `document`.
        """
        if input_type not in (None, "query", "document"):
            return self.prompt(input_type)
        found = prompt_for_type(self.prompts, self.default_prompt_name, input_type)
        return "" if found is None else self.prompts[found]


def _check_default_prompt(path: Path, stated: Mapping[str, Any]) -> None:
    default, prompts = stated.get("default_prompt_name"), stated.get("prompts") or {}
    if default is not None and default not in prompts:
        named = ", ".join(map(repr, prompts)) or "none"
        raise ModelError(f"{path / PROMPTS_FILE}: default_prompt_name is {default!r}; its prompts are {named}")


def _marked(prompts: dict[str, str], late: LateInteraction) -> dict[str, str]:
    """The prompts, with the markers of queries and documents in front."""
    return prompts | {side: mark + prompts.get(side, "").removeprefix(mark) for side, mark in late.markers.items()}


def _outputs_of_pooled(path: Path) -> dict[str, Any]:
    """What an embedder with pooling gives, and the size of its tokens' vectors."""
    heads = M3Heads.read(path)
    outputs: list[Output] = ["dense"]
    unread = tuple(file.name for file in pickled_heads(path))
    if heads is None:
        return {"outputs": tuple(outputs), "unread": unread}
    if heads.weights is not None:
        outputs.append("sparse")
    if heads.vectors is not None:
        outputs.append("tokens")
    return {"outputs": tuple(outputs), "token_dimensions": heads.vector_size, "unread": unread}


def _token_limit(path: Path, architecture: Architecture, settings: TransformerSettings) -> int:
    """The limit that sentence-transformers would take, within the encoder's positions."""
    limits = [] if architecture.max_tokens is None else [architecture.max_tokens]
    stated: Any = settings.max_tokens or read_object(path / "tokenizer_config.json").get("model_max_length")
    if stated and stated < _UNSET_LENGTH:
        limits.append(int(stated))
    if not limits:
        raise ModelError(f"{path.name} states no maximum length; set max_tokens in the configuration")
    return min(limits)


def _trained_dimensions(architecture: Architecture) -> tuple[int, ...]:
    stated = architecture.config.get("matryoshka_dimensions")
    return tuple(size for size in stated if isinstance(size, int)) if isinstance(stated, list) else ()


def _check_embedder(path: Path, modules: Modules, settings: TransformerSettings) -> None:
    if not (modules.pooling or modules.splade or modules.token_steps):
        raise ModelError(f"{path / 'modules.json'} has no Pooling, so it makes no vector of a text")
    if settings.reads_messages:
        raise ModelError(f"{settings.file} has a message modality (a chat template), which embedders cannot have here")


def _check_reranker(path: Path, architecture: Architecture, modules: Modules) -> None:
    """Refuse a model that gives more than one number, or none, for a pair."""
    if modules.pooling:
        outputs = modules.output_size(architecture.token_vector_size)
        if outputs != 1:
            raise ModelError(f"the modules of {path.name} give {outputs} numbers for a pair; a reranker gives one")
    elif modules.score is None and not architecture.scores_by_words and architecture.outputs > 1:
        named = (
            f" ({', '.join(architecture.labels)})" if architecture.labels else ", and config.json names none of them"
        )
        raise ModelError(f"{path.name} has {architecture.outputs} outputs{named}; a reranker has one")
