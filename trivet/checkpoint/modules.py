"""Reads what sentence-transformers' files say happens before, in and after a checkpoint's transformer. Needs no torch.

`modules.json` names a chain of modules; each keeps its configuration (and its weights) in a folder. Everything that
changes the numbers is either returned here or refused, so that no setting is skipped silently.

A chain with Pooling makes one vector of a text. One with SpladePooling makes weights over the vocabulary, and one of
layers over tokens, without pooling, a vector of each token (`trivet.checkpoint.late_interaction`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from trivet.checkpoint.files import inside, read_json, read_object
from trivet.checkpoint.recipes import SPLADE
from trivet.config import Task
from trivet.errors import ModelError

MODULES_FILE = "modules.json"
_SETTINGS_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names that sentence-transformers tries for the settings of the transformer, in its order."""

_OF_LOADING = frozenset(
    {"trust_remote_code", "revision", "token", "cache_dir", "local_files_only", "subfolder", "use_fast"}
)
"""Arguments of sentence-transformers' loading that change no number."""
_OF_COMPUTING = frozenset(
    {
        "attn_implementation", "dtype", "torch_dtype", "device_map", "low_cpu_mem_usage", "use_safetensors",
        "add_pooling_layer", "use_memory_efficient_attention", "unpad_inputs",
    }
)  # fmt: skip
"""Arguments of the model that choose how it computes, or a layer that is not used."""
_OF_PADDING = frozenset({"padding_side", "legacy", "clean_up_tokenization_spaces"})
"""Arguments of the tokenizer that change no token of a text."""
_ARGUMENTS = tuple(
    (name, harmless, remedy)
    for names, harmless, remedy in (
        (("model_args", "model_kwargs"), _OF_COMPUTING, "set it in config.json"),
        (("config_args", "config_kwargs"), _OF_COMPUTING | {"use_cache"}, "set it in config.json"),
        (("tokenizer_args", "processor_kwargs"), _OF_PADDING, "set it in tokenizer_config.json or tokenizer.json"),
    )
    for name in names
)
"""Fields with arguments, those of them that may be there, and what to do about others."""
_OUTPUT_OF_TOKENS = ("feature-extraction", "last_hidden_state")
_OUTPUT_OF_CHAIN = {
    "": ("sequence-classification", "logits"),
    "LogitScore": ("text-generation", "logits"),
    "SpladePooling": ("fill-mask", "logits"),
}
"""The second module → the task of the transformer and its output that the module reads."""

_VECTOR = "sentence_embedding"
"""sentence-transformers' name for the vector of a text, which the modules after pooling read and write."""
_TOKENS = "token_embeddings"
"""Its name for the vectors of the tokens."""

TOKEN_MASK = "MultiVectorMask"
"""The module that says which tokens of a late-interaction model count."""
STANFORD = "HF_ColBERT"
"""The class that wrote checkpoints of Stanford's ColBERT."""
METADATA_FILE = "artifact.metadata"
"""Where that library keeps its settings."""
_STANFORD_OUTPUTS = 128
_POOLED_SIZES = ("embedding_dimension", "word_embedding_dimension")
"""Names of the features that a Pooling module takes, since sentence-transformers 6 and before."""
_LATE_SETTINGS = ("query_length", "document_length", "query_expansion")
"""Settings of the transformer that late-interaction models have."""

_MODE_OF_FLAG = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flags of files written before sentence-transformers 6, in the order in which several modes are concatenated."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer and its activation."""

    folder: Path
    """Where its tensors are."""
    inputs: int
    outputs: int
    has_bias: bool
    activation: str
    """Path of a torch class."""
    has_residual: bool
    """Whether the input, projected if the sizes differ, is added to the output."""


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """A layer norm with scale and shift."""

    folder: Path
    size: int


@dataclass(frozen=True, slots=True)
class Normalize:
    """A vector is divided by its length."""


Step = Dense | LayerNorm | Normalize


@dataclass(frozen=True, slots=True)
class LogitScore:
    """The score of a causal model: the logit of one token as the next, less that of another."""

    true_id: int
    false_id: int | None


@dataclass(frozen=True, slots=True)
class Splade:
    """Weights over the vocabulary, from the logits of a masked language model: log(1 + relu), over all tokens."""

    sums: bool = False
    """Whether the weights of the tokens are added up instead of their largest taken."""
    logs: int = 1
    """How many times the logarithm is taken."""


@dataclass(frozen=True, slots=True)
class StatedSize:
    """A size, and where it is stated."""

    file: Path
    field: str
    size: int


@dataclass(frozen=True, slots=True)
class Modules:
    """What is computed from the hidden states of the tokens."""

    pooling: tuple[str, ...] = ()
    """Pooling modes, supported or not, in the order in which their vectors are concatenated."""
    pooled_size: StatedSize | None = None
    """Features of a token that is pooled, where the pooling's configuration states them."""
    steps: tuple[Step, ...] = ()
    """What happens to the pooled vector, in order."""
    score: LogitScore | None = None
    splade: Splade | None = None
    token_steps: tuple[Step, ...] = ()
    """What happens to the vector of each token, in order, where tokens are not pooled."""
    mask_folder: Path | None = None
    """Where the settings of `MultiVectorMask` are, if there is one."""

    @property
    def ends_in_normalize(self) -> bool:
        """Whether vectors leave the chain with length 1."""
        return bool(self.steps) and isinstance(self.steps[-1], Normalize)

    @property
    def steps_before_windows(self) -> tuple[Step, ...]:
        """The steps of one window. A closing `Normalize` follows after the windows of a text have been averaged."""
        return self.steps[:-1] if self.ends_in_normalize else self.steps

    def output_size(self, hidden_size: int) -> int:
        """Return the features that leave the chain.

        Args:
            hidden_size: features of a token that are pooled.

        Raises:
            ModelError: the pooling or a step does not take what the one before it gives.
        """
        if (stated := self.pooled_size) is not None and stated.size != hidden_size:
            raise ModelError(
                f"{stated.file}: {stated.field} is {stated.size}, but the encoder gives {hidden_size} features"
            )
        size = hidden_size * max(1, len(self.pooling))
        for step in self.steps or self.token_steps:
            expected = step.inputs if isinstance(step, Dense) else step.size if isinstance(step, LayerNorm) else size
            if expected != size:
                raise ModelError(f"{MODULES_FILE}: {type(step).__name__} takes {expected} features, it is given {size}")
            size = step.outputs if isinstance(step, Dense) else size
        return size


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """What sentence-transformers keeps about the transformer itself."""

    file: Path | None
    stated: Mapping[str, Any] = field(default_factory=dict)
    """The content of the file."""
    max_tokens: int | None = None
    lowercases: bool = False
    """Whether texts are lower-cased before the tokenizer's own normaliser."""
    reads_messages: bool = False
    """Whether texts are put into the checkpoint's chat template."""


def read_modules(model_dir: Path, task: Task, recipe: str | None = None) -> Modules:
    """Read the chain of a checkpoint. It is empty where the model's own head gives the result.

    Without `modules.json` an embedder has the pooling that sentence-transformers gives a plain model: the last token of
    a causal one, otherwise the mean.

    Args:
        model_dir: the checkpoint directory.
        task: the task that it is to serve.
        recipe: how it is used where no file says so, of `trivet.checkpoint.recipes.RECIPES`.

    Raises:
        ModelError: a module that is not supported, or a setting of one; the message names file and field.
    """
    file = model_dir / MODULES_FILE
    if task == "classifier":
        return Modules()
    if not file.is_file():
        config = read_object(model_dir / "config.json")
        if STANFORD in (config.get("architectures") or []):
            return _stanford(model_dir, config)
        if task == "reranker":
            return Modules()
        if recipe == SPLADE:
            return Modules(splade=Splade())
        return Modules(pooling=("lasttoken" if _is_plain_causal(config) else "mean",))
    return _Chain(model_dir, file).read()


def _stanford(model_dir: Path, config: Mapping[str, Any]) -> Modules:
    """A ColBERT of Stanford's library: one layer `linear` in the file of the encoder, and vectors of length 1."""
    file = model_dir / METADATA_FILE
    outputs = read_object(file).get("dim") or _STANFORD_OUTPUTS
    if isinstance(outputs, bool) or not isinstance(outputs, int) or outputs < 1:
        raise ModelError(f"{file}: dim is {outputs!r}, not a positive whole number")
    inputs = _size(model_dir, config, "hidden_size")
    identity = "torch.nn.modules.linear.Identity"
    dense = Dense(model_dir, inputs, outputs, has_bias=False, activation=identity, has_residual=False)
    return Modules(token_steps=(dense, Normalize()))


def read_transformer_settings(model_dir: Path) -> TransformerSettings:
    """Read the first of the seven files that exists. sentence-transformers looks for them only beside `modules.json`.

    Raises:
        ModelError: a setting that is not supported; the message names file and field.
    """
    if not (model_dir / MODULES_FILE).is_file():
        return TransformerSettings(None)
    file = next((model_dir / name for name in _SETTINGS_FILES if (model_dir / name).is_file()), None)
    if file is None:
        return TransformerSettings(None)
    settings = read_object(file)
    of_tokens = is_over_tokens(model_dir)
    for name in ("processing_kwargs", *(() if of_tokens else _LATE_SETTINGS)):
        if settings.get(name):
            raise ModelError(f"{file} sets {name}, which is not supported")
    for name, harmless, remedy in _ARGUMENTS:
        changed = sorted(set(settings.get(name) or {}) - harmless - _OF_LOADING)
        if changed:
            raise ModelError(f"{file}: {name} sets {', '.join(changed)}, which is not supported; {remedy}")
    _check_output(file, settings, module_kinds(model_dir))
    limit = settings.get("max_seq_length")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ModelError(f"{file}: max_seq_length is {limit!r}, not a positive whole number")
    return TransformerSettings(
        file,
        stated=settings,
        max_tokens=limit,
        lowercases=bool(settings.get("do_lower_case")),
        reads_messages="message" in (settings.get("modality_config") or {}),
    )


def _check_output(file: Path, settings: Mapping[str, Any], kinds: list[str]) -> None:
    """Refuse settings that read something else of the transformer than its chain of modules takes."""
    task, output = _OUTPUT_OF_CHAIN.get(kinds[1] if len(kinds) > 1 else "", _OUTPUT_OF_TOKENS)
    stated = settings.get("transformer_task")
    if stated not in (None, task):
        raise ModelError(f"{file}: transformer_task is {stated!r}; with these modules it must be {task!r}")
    modalities = settings.get("modality_config")
    for modality in ("text", "message"):
        read = modalities.get(modality) if isinstance(modalities, dict) else None
        if isinstance(read, dict) and (read.get("method"), read.get("method_output_name")) != ("forward", output):
            raise ModelError(
                f"{file}: modality_config reads {read.get('method_output_name')!r} of {read.get('method')!r} for "
                f"{modality}; with these modules it must be {output!r} of 'forward'"
            )


def module_kinds(model_dir: Path) -> list[str]:
    """Return the classes of the chain, without their packages; empty if there is no `modules.json`."""
    file = model_dir / MODULES_FILE
    return [_kind(module) for module in read_json(file)] if file.is_file() else []


def is_over_tokens(model_dir: Path) -> bool:
    """Whether the chain ends with a vector of each token."""
    return _are_over_tokens(module_kinds(model_dir))


def _kind(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rsplit(".", 1)[-1]


def _are_over_tokens(kinds: list[str]) -> bool:
    head, further = kinds[:1], set(kinds[1:])
    known = {"Dense", "LayerNorm", "Normalize", "Dropout", TOKEN_MASK}
    return head == ["Transformer"] and bool(further & {"Dense", TOKEN_MASK}) and further <= known


def _is_plain_causal(config: Mapping[str, Any]) -> bool:
    architectures = config.get("architectures") or [""]
    return str(architectures[0]).endswith("ForCausalLM") and bool(config.get("is_causal", True))


class _Chain:
    """Reads one `modules.json`."""

    def __init__(self, model_dir: Path, file: Path) -> None:
        self._model_dir = model_dir
        self._file = file
        self._modules = read_json(file)
        self._kinds = [_kind(module) for module in self._modules]

    def read(self) -> Modules:
        match self._kinds:
            case ["Transformer"]:
                self._check_root()
                return Modules()
            case ["Transformer", "LogitScore"]:
                self._check_root()
                return Modules(score=self._logit_score(*self._config(1)))
            case ["Transformer", "Pooling", *rest] if {"Dense", "LayerNorm", "Normalize", "Dropout"}.issuperset(rest):
                self._check_root()
                folder, config = self._config(1)
                if not config.get("include_prompt", True):
                    raise ModelError(
                        f"{folder / 'config.json'} leaves the prompt out of pooling (include_prompt: false), "
                        "which is not supported"
                    )
                return Modules(_modes(config), _pooled_size(folder, config), tuple(self._steps(2, _VECTOR)))
            case ["MLMTransformer" | "Transformer", "SpladePooling"]:
                self._check_root()
                return Modules(splade=_splade(*self._config(1)))
            case kinds if _are_over_tokens(kinds):
                self._check_root()
                steps = list(self._steps(1, _TOKENS))
                masks = [self._config(at)[0] for at, kind in enumerate(kinds) if kind == TOKEN_MASK]
                if not masks and not isinstance(steps[-1], Normalize):
                    steps.append(Normalize())  # PyLate normalises, and writes no module for it
                return Modules(token_steps=tuple(steps), mask_folder=masks[0] if masks else None)
        raise ModelError(
            f"{self._file} chains {' → '.join(self._kinds)}; supported is Transformer → Pooling, then Dense, LayerNorm "
            "and Normalize in any order; Transformer, then Dense, MultiVectorMask and Normalize; MLMTransformer → "
            "SpladePooling; for rerankers also Transformer alone or with LogitScore"
        )

    def _check_root(self) -> None:
        if path := self._modules[0].get("path"):
            raise ModelError(f"{self._file} keeps the encoder in {path!r}; it must be in {self._model_dir}")

    def _config(self, index: int) -> tuple[Path, dict[str, Any]]:
        folder = inside(self._model_dir, self._modules[index]["path"], self._file)
        if self._kinds[index] in ("Normalize", "Dropout"):  # they have had a file since sentence-transformers 6
            return folder, read_object(folder / "config.json")
        return folder, read_json(folder / "config.json")

    def _steps(self, first: int, passed: str) -> Iterator[Step]:
        """The modules from number `first` on, which pass vectors of the name `passed` on."""
        last = len(self._kinds) - 1
        for index in range(first, len(self._kinds)):
            folder, config = self._config(index)
            self._check_names(folder, config, passed, is_last=index == last)
            match self._kinds[index]:
                case "Dense":
                    yield Dense(
                        folder,
                        _size(folder, config, "in_features"),
                        _size(folder, config, "out_features"),
                        has_bias=bool(config.get("bias", True)),
                        activation=str(config.get("activation_function") or "torch.nn.modules.activation.Tanh"),
                        has_residual=bool(config.get("use_residual")),
                    )
                case "LayerNorm":
                    yield LayerNorm(folder, _size(folder, config, "dimension"))
                case "Normalize":
                    yield Normalize()

    def _check_names(self, folder: Path, config: Mapping[str, Any], passed: str, *, is_last: bool) -> None:
        """Modules pass vectors of one name on; the last one after pooling may give them another one, such as
        `scores`."""
        source = config.get("module_input_name") or passed
        target = config.get("module_output_name") or source
        if source != passed or (target != passed and not (is_last and passed == _VECTOR)):
            raise ModelError(
                f"{folder / 'config.json'} reads {source!r} and writes {target!r}; only {passed!r} is passed"
            )

    @staticmethod
    def _logit_score(folder: Path, config: Mapping[str, Any]) -> LogitScore:
        true_id, false_id = config.get("true_token_id"), config.get("false_token_id")
        if not _is_id(true_id) or not (false_id is None or _is_id(false_id)):
            raise ModelError(f"{folder / 'config.json'}: true_token_id is {true_id!r}, false_token_id {false_id!r}")
        return LogitScore(true_id, false_id)


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _size(folder: Path, config: Mapping[str, Any], field: str) -> int:
    value = config.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{folder / 'config.json'}: {field} is {value!r}, not a positive whole number")
    return value


def _splade(folder: Path, config: Mapping[str, Any]) -> Splade:
    file = folder / "config.json"
    strategy, activation = config.get("pooling_strategy") or "max", config.get("activation_function") or "relu"
    if strategy not in ("max", "sum"):
        raise ModelError(f"{file}: pooling_strategy is {strategy!r}; max and sum are supported")
    if activation not in ("relu", "log1p_relu"):
        raise ModelError(f"{file}: activation_function is {activation!r}; relu and log1p_relu are supported")
    return Splade(sums=strategy == "sum", logs=2 if activation == "log1p_relu" else 1)


def _pooled_size(folder: Path, config: Mapping[str, Any]) -> StatedSize | None:
    field = next((name for name in _POOLED_SIZES if config.get(name) is not None), None)
    return None if field is None else StatedSize(folder / "config.json", field, _size(folder, config, field))


def _modes(config: Mapping[str, Any]) -> tuple[str, ...]:
    stated = config.get("pooling_mode")
    if stated is not None:
        return (stated,) if isinstance(stated, str) else tuple(stated)
    active = tuple(mode for flag, mode in _MODE_OF_FLAG.items() if config.get(flag))
    unknown = [
        flag for flag in config if flag.startswith("pooling_mode_") and config[flag] and flag not in _MODE_OF_FLAG
    ]
    return (*active, *unknown) or ("mean",)
