"""Reads what sentence-transformers' files say happens before, in and after a checkpoint's transformer. Needs no torch.

`modules.json` names a chain of modules; each keeps its configuration (and its weights) in a folder. Everything that
changes the numbers is either returned here or refused, so that no setting is skipped silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.checkpoint.files import inside, read_json, read_object
from trivet.config import Task
from trivet.errors import ModelError

MODULES_FILE = "modules.json"
_SETTINGS_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names that sentence-transformers tries for the settings of the transformer, in its order."""

_VECTOR = "sentence_embedding"
"""sentence-transformers' name for the vector of a text, which the modules after pooling read and write."""

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
class Modules:
    """What is computed from the hidden states of the tokens."""

    pooling: tuple[str, ...] = ()
    """Pooling modes, supported or not, in the order in which their vectors are concatenated."""
    steps: tuple[Step, ...] = ()
    """What happens to the pooled vector, in order."""
    score: LogitScore | None = None

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
            ModelError: a step does not take what the one before it gives.
        """
        size = hidden_size * len(self.pooling)
        for step in self.steps:
            expected = step.inputs if isinstance(step, Dense) else step.size if isinstance(step, LayerNorm) else size
            if expected != size:
                raise ModelError(f"{MODULES_FILE}: {type(step).__name__} takes {expected} features, it is given {size}")
            size = step.outputs if isinstance(step, Dense) else size
        return size


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """What sentence-transformers keeps about the transformer itself."""

    file: Path | None
    max_tokens: int | None = None
    lowercases: bool = False
    """Whether texts are lower-cased before the tokenizer's own normaliser."""
    reads_messages: bool = False
    """Whether texts are put into the checkpoint's chat template."""


def read_modules(model_dir: Path, task: Task) -> Modules:
    """Read the chain of a checkpoint. It is empty where the model's own head gives the result.

    Without `modules.json` an embedder has the pooling that sentence-transformers gives a plain model: the last token of
    a causal one, otherwise the mean.

    Raises:
        ModelError: a module that is not supported, or a setting of one; the message names file and field.
    """
    file = model_dir / MODULES_FILE
    if task == "classifier" or (task == "reranker" and not file.is_file()):
        return Modules()
    if not file.is_file():
        return Modules(pooling=("lasttoken" if _is_plain_causal(read_object(model_dir / "config.json")) else "mean",))
    return _Chain(model_dir, file).read()


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
    for field in ("query_length", "document_length", "query_expansion", "processing_kwargs"):
        if settings.get(field):
            raise ModelError(f"{file} sets {field}, which is not supported")
    for field in ("config_args", "config_kwargs"):
        changed = sorted(set(settings.get(field) or {}) - {"trust_remote_code", "use_cache"})
        if changed:
            raise ModelError(
                f"{file} overrides {', '.join(changed)} of config.json in {field}; set them in config.json"
            )
    limit = settings.get("max_seq_length")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ModelError(f"{file}: max_seq_length is {limit!r}, not a positive whole number")
    return TransformerSettings(
        file,
        max_tokens=limit,
        lowercases=bool(settings.get("do_lower_case")),
        reads_messages="message" in (settings.get("modality_config") or {}),
    )


def _is_plain_causal(config: Mapping[str, Any]) -> bool:
    architectures = config.get("architectures") or [""]
    return str(architectures[0]).endswith("ForCausalLM") and bool(config.get("is_causal", True))


class _Chain:
    """Reads one `modules.json`."""

    def __init__(self, model_dir: Path, file: Path) -> None:
        self._model_dir = model_dir
        self._file = file
        self._modules = read_json(file)
        self._kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in self._modules]

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
                return Modules(_modes(config), tuple(self._steps()))
        raise ModelError(
            f"{self._file} chains {' → '.join(self._kinds)}; supported is Transformer → Pooling, then Dense, LayerNorm "
            "and Normalize in any order; for rerankers also Transformer alone or with LogitScore"
        )

    def _check_root(self) -> None:
        if path := self._modules[0].get("path"):
            raise ModelError(f"{self._file} keeps the encoder in {path!r}; it must be in {self._model_dir}")

    def _config(self, index: int) -> tuple[Path, dict[str, Any]]:
        folder = inside(self._model_dir, self._modules[index]["path"], self._file)
        if self._kinds[index] in ("Normalize", "Dropout"):  # they have had a file since sentence-transformers 6
            return folder, read_object(folder / "config.json")
        return folder, read_json(folder / "config.json")

    def _steps(self) -> Iterator[Step]:
        last = len(self._kinds) - 1
        for index in range(2, len(self._kinds)):
            folder, config = self._config(index)
            self._check_names(folder, config, is_last=index == last)
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

    def _check_names(self, folder: Path, config: Mapping[str, Any], *, is_last: bool) -> None:
        """The modules after pooling pass one vector on; the last one may give it another name, such as `scores`."""
        source = config.get("module_input_name") or _VECTOR
        target = config.get("module_output_name") or source
        if source != _VECTOR or (target != _VECTOR and not is_last):
            raise ModelError(
                f"{folder / 'config.json'} reads {source!r} and writes {target!r}; only {_VECTOR!r} is passed"
            )

    @staticmethod
    def _logit_score(folder: Path, config: Mapping[str, Any]) -> LogitScore:
        true_id, false_id = config.get("true_token_id"), config.get("false_token_id")
        if not isinstance(true_id, int) or not isinstance(false_id, int | None):
            raise ModelError(f"{folder / 'config.json'}: true_token_id is {true_id!r}, false_token_id {false_id!r}")
        return LogitScore(true_id, false_id)


def _size(folder: Path, config: Mapping[str, Any], field: str) -> int:
    value = config.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{folder / 'config.json'}: {field} is {value!r}, not a positive whole number")
    return value


def _modes(config: Mapping[str, Any]) -> tuple[str, ...]:
    stated = config.get("pooling_mode")
    if stated is not None:
        return (stated,) if isinstance(stated, str) else tuple(stated)
    active = tuple(mode for flag, mode in _MODE_OF_FLAG.items() if config.get(flag))
    unknown = [
        flag for flag in config if flag.startswith("pooling_mode_") and config[flag] and flag not in _MODE_OF_FLAG
    ]
    return (*active, *unknown) or ("mean",)
