"""Loads any supported checkpoint from a local directory behind one signature.

``forward(input_ids (B, T) int64, attention_mask (B, T) int64[, token_type_ids (B, T) int64]) -> fp32``, where the
result is (B, D) pooled vectors for an embedder (not normalised) and (B, labels) logits for a reranker or classifier.
Models of token vectors give these too (`trivet.engine.models.outputs`).
``input_names`` says which arguments the model takes. Sequences are padded on the right.

Only safetensors are read, and remote code is never run. A tensor that a model needs and the files lack is an error;
transformers alone would fill it with random numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.files import CheckpointMismatch, find_weight_files
from trivet.checkpoint.jina_bert import is_jina_bert
from trivet.checkpoint.m3 import M3Heads
from trivet.checkpoint.modules import STANFORD, LogitScore, read_modules
from trivet.checkpoint.native_config import native_config
from trivet.checkpoint.nomic import is_nomic_moe
from trivet.config import Task
from trivet.engine.models import banded
from trivet.engine.models.flat.padded import load_padded_encoder
from trivet.engine.models.jina_bert import load_jina_bert
from trivet.engine.models.masks import FAMILIES, LayerMasks
from trivet.engine.models.outputs import M3Tokens, SpladeModel, TokenModel
from trivet.engine.models.pooling import PooledHead, Pooling
from trivet.engine.models.rotary import TableRotary
from trivet.engine.models.spans import BinSpans
from trivet.engine.models.steps import (
    WordLogits,
    answering_words,
    build_steps,
    has_tensor,
    ids_of_words,
    linear_of,
    read_bare_linear,
    read_rows,
    read_tensors,
)
from trivet.errors import ModelError

# Encoders whose attention goes through transformers' interfaces with plain padding masks, so that ours can replace it.
# It takes one (B, 1, 1, T) key mask per forward instead of (B, 1, T, T), and never reads its values on the host.
_OUR_ATTENTION = frozenset({"bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"})

# Tensors that a file may hold for other uses: language-model and classification heads, a pooler, stored indices.
_EXTRA_TENSORS = re.compile(
    r"(^|\.)(cls|lm_head|classifier|head|decoder|pooler|score|mlm_head|vocab_\w+|qa_outputs|pre_classifier|classification_head)\."
    r"|(^|\.)(position_ids|inv_freq|token_type_ids)$"
)
Part = Literal["encoder", "classifier", "masked"]
"""What of a checkpoint transformers loads: the encoder, or it with a classification or masked-language head."""

_UNUSED_POOLER = re.compile(r"(^|\.)pooler\.")

_CAPPED_LOGITS = frozenset({"gemma2", "gemma3", "gemma3_text"})
"""Model types whose language-model head limits its logits."""


class PooledModel(nn.Module):
    """An encoder, its pooling, and what the checkpoint's files do with the pooled vector.

    It serves as an embedder, and as a reranker or classifier whose head reads one vector of each sequence.
    """

    input_names = ("input_ids", "attention_mask")

    def __init__(
        self, encoder: nn.Module, pooling: Pooling, architecture: Architecture, steps: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = encoder
        self.head = PooledHead(pooling, nn.Identity() if steps is None else steps)
        self.masks = LayerMasks.of(encoder.config) if architecture.model_type in FAMILIES else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T), (B, T) → (B, D) fp32."""
        seen = attention_mask if self.masks is None else self.masks(attention_mask)
        output = self.encoder(input_ids=input_ids, attention_mask=seen)
        hidden = output if isinstance(output, Tensor) else output.last_hidden_state  # (B, T, H)
        outputs: Tensor = self.head(hidden.flatten(0, 1), BinSpans.of_padded(attention_mask))
        return outputs


class SequenceClassifier(nn.Module):
    """An encoder with a classification head, for reranking and for natural-language inference."""

    def __init__(self, model: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = model
        types = ("token_type_ids",) if architecture.token_types > 1 else ()
        self.input_names = ("input_ids", "attention_mask", *types)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, T), (B, T)[, (B, T)] → logits (B, labels) fp32."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits.float()


TorchModel = PooledModel | SequenceClassifier | SpladeModel | TokenModel


def load_torch_model(
    path: Path,
    task: Task,
    dtype: torch.dtype = torch.float32,
    *,
    recipe: str | None = None,
    for_export: bool = False,
) -> TorchModel:
    """Load a checkpoint directory for one task, in evaluation mode, on the CPU.

    Args:
        path: a directory in Hugging Face (or sentence-transformers) layout.
        task: ``embedder``, ``reranker`` or ``classifier``.
        dtype: of the weights and of the computation; results are fp32 in any case.
        recipe: how the checkpoint is used where no file says so; see `ModelFiles.read`.
        for_export: use modules whose graph, traced at one length, is right for every length.

    Raises:
        ModelError: the directory is not a checkpoint for this task that can be loaded safely; the message names the
            file, field, tensor or module at fault.
    """
    architecture = Architecture.read(path)
    find_weight_files(path)
    own = _own_encoder(architecture, for_export=for_export)
    if own is not None:
        name, load = own
        if task != "embedder":
            raise ModelError(f"{path} is a {name}, an embedder; it cannot serve as a {task}")
        modules = read_modules(path, task)
        steps = build_steps(modules.steps_before_windows)
        model: TorchModel = PooledModel(load(path, dtype), Pooling(modules.pooling), architecture, steps)
    else:
        model = _LoadedBy(path, architecture, task, dtype, for_export=for_export).model(recipe)
    return model.eval().requires_grad_(False)


def _own_encoder(
    architecture: Architecture, *, for_export: bool
) -> tuple[str, Callable[[Path, torch.dtype], nn.Module]] | None:
    """The name and the loader of an encoder that transformers does not have, or reads wrong."""
    if is_nomic_moe(architecture.config):
        # transformers maps the model type to its dense NomicBert, discards every expert and computes finite nonsense.
        return "nomic v2 MoE", lambda path, dtype: load_padded_encoder(path, "embedder", dtype, for_export=for_export)
    return ("BERT with ALiBi", load_jina_bert) if is_jina_bert(architecture.config) else None


class _LoadedBy:
    """Puts a model together around an encoder of transformers."""

    def __init__(
        self, path: Path, architecture: Architecture, task: Task, dtype: torch.dtype, *, for_export: bool
    ) -> None:
        self._path = path
        self._architecture = architecture
        self._task: Task = task
        self._dtype = dtype
        self._for_export = for_export

    def model(self, recipe: str | None) -> TorchModel:
        """Choose by the files which parts there are."""
        modules = read_modules(self._path, self._task, recipe)
        if modules.splade is not None:
            masked = self._load("masked")
            return SpladeModel(masked, self._architecture, modules.splade, for_export=self._for_export)
        if modules.token_steps:
            return TokenModel(self._load("encoder"), self._architecture, build_steps(modules.token_steps))
        heads = M3Heads.read(self._path) if self._task == "embedder" else None
        if heads is not None:
            pooled = PooledHead(Pooling(modules.pooling), build_steps(modules.steps_before_windows))
            tokens = _m3_tokens(heads, self._architecture.token_vector_size)
            return TokenModel(self._load("encoder"), self._architecture, tokens, pooled)
        if modules.pooling:
            outputs = modules.output_size(self._architecture.token_vector_size)
            if self._task == "reranker" and outputs != 1:
                raise CheckpointMismatch(f"the modules of {self._path} give {outputs} numbers; a reranker gives one")
            return self._pooled(modules.pooling, build_steps(modules.steps_before_windows))
        if modules.score is not None or self._architecture.scores_by_words:
            return self._pooled(("lasttoken",), words_of=modules.score or answering_words(self._path, recipe))
        if self._architecture.is_causal_family:
            shape = self._architecture.outputs, self._architecture.hidden_size
            return self._pooled(("lasttoken",), read_bare_linear(self._path, "score", shape))
        if self._architecture.model_type == "bart":
            # transformers reads the decoder at the last `</s>`, which is the last token of every sequence here.
            return self._pooled(("lasttoken",), self._bart_head())
        loaded = self._load("classifier")
        return SequenceClassifier(loaded, self._architecture)

    def _pooled(
        self, pooling: tuple[str, ...], steps: nn.Module | None = None, *, words_of: LogitScore | None = None
    ) -> PooledModel:
        encoder: Any = self._load("encoder")
        if words_of is not None:
            steps = self._word_logits(encoder, words_of)
        if self._architecture.projects_tokens:
            shape = self._architecture.token_vector_size, self._architecture.hidden_size
            encoder = _Projected(encoder, read_bare_linear(self._path, "linear", shape))
        return PooledModel(encoder, Pooling(pooling), self._architecture, steps)

    def _word_logits(self, encoder: Any, score: LogitScore) -> WordLogits:
        ids = ids_of_words(self._path, score, self._architecture.vocab_size)
        config = encoder.config
        if config.tie_word_embeddings and not has_tensor(self._path, "lm_head.weight"):
            rows = [encoder.get_input_embeddings().weight[row].detach().float() for row in ids]
        else:
            shape = self._architecture.vocab_size, self._architecture.hidden_size
            rows = read_rows(self._path, "lm_head.weight", ids, shape)
        softcap = getattr(config, "final_logit_softcapping", None)
        if softcap is not None and self._architecture.model_type not in _CAPPED_LOGITS:
            raise CheckpointMismatch(
                f"{self._path / 'config.json'}: final_logit_softcapping is {softcap!r}; models of type "
                f"{self._architecture.model_type} have none"
            )
        return WordLogits(rows, softcap)

    def _bart_head(self) -> nn.Module:
        dense, out = "classification_head.dense", "classification_head.out_proj"
        names = [f"{layer}.{kind}" for layer in (dense, out) for kind in ("weight", "bias")]
        tensors = read_tensors(self._path, names)
        first, last = (linear_of(tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]) for layer in (dense, out))
        return nn.Sequential(first, nn.Tanh(), last)

    def _load(self, part: Part) -> nn.Module:
        return _load_transformers(
            self._path, self._architecture, self._task, self._dtype, part, for_export=self._for_export
        )


class _Projected(nn.Module):
    """An encoder whose hidden states pass through one more layer."""

    def __init__(self, encoder: nn.Module, projection: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection
        self.config = encoder.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        projected: Tensor = self.projection(hidden.float())
        return projected


def _m3_tokens(heads: M3Heads, hidden_size: int) -> M3Tokens:
    weights = None if heads.weights is None else _layer_of(heads.weights, hidden_size, outputs=1)
    vectors = None if heads.vectors is None else _layer_of(heads.vectors, hidden_size)
    return M3Tokens(weights, vectors)


def _layer_of(file: Path, inputs: int, outputs: int | None = None) -> nn.Linear:
    """The linear layer that a file of its own holds; any number of outputs if it is None."""
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if set(tensors) != {"weight", "bias"}:
        raise CheckpointMismatch(f"{file} holds {', '.join(sorted(tensors)) or 'nothing'}; a head is weight and bias")
    found = tuple(tensors["weight"].shape)
    expected = (found[0] if outputs is None else outputs, inputs) if found else ()
    if found != expected or tuple(tensors["bias"].shape) != expected[:1]:
        stated = f"{'any number' if outputs is None else outputs} × {inputs}"
        raise CheckpointMismatch(f"{file}: weight is {' × '.join(map(str, found))}, it must be {stated}, and bias fit")
    return linear_of(tensors["weight"], tensors["bias"])


def _load_transformers(
    path: Path, architecture: Architecture, task: Task, dtype: torch.dtype, part: Part, *, for_export: bool
) -> nn.Module:
    # Imported here: transformers takes seconds to import, and a caller may only want an encoder of our own.
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

    options: dict[str, Any] = {}
    if architecture.model_type in _OUR_ATTENTION and not architecture.is_decoder:
        banded.register()
        options["attn_implementation"] = banded.ALWAYS_BLOCKED if for_export else banded.ADAPTIVE
    kinds: dict[Part, Any] = {
        "encoder": AutoModel, "classifier": AutoModelForSequenceClassification, "masked": AutoModelForMaskedLM,
    }  # fmt: skip
    native = native_config(architecture.config)
    try:
        config = (
            AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            if native is None
            else AutoConfig.for_model(**native)
        )
        _forget_caches(config)
        model, report = kinds[part].from_pretrained(
            path,
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported instead, so that the refusal below can name them
            **options,
        )
    except Exception as error:  # its classes check their fields, and compute with them, each in its own way
        raise ModelError(f"{path} cannot be loaded as a {task}: {type(error).__name__}: {error}") from error
    extra = {"linear.weight"} if architecture.projects_tokens or architecture.architecture_name == STANFORD else set()
    _check_report(path, task, report, has_head=part != "encoder", extra=extra)
    _tabulate_rotary(model)
    loaded: nn.Module = model
    return loaded


def _forget_caches(config: Any) -> None:
    """A forward reads each sequence once: keys and values kept for a next token would only take memory, and a converter
    cannot trace them."""
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if getattr(part, "use_cache", False):
            part.use_cache = False


def _check_report(path: Path, task: Task, report: dict[str, Any], *, has_head: bool, extra: set[str]) -> None:
    missing = sorted(name for name in report["missing_keys"] if has_head or not _UNUSED_POOLER.search(name))
    unexpected = sorted(name for name in report["unexpected_keys"] - extra if not _EXTRA_TENSORS.search(name))
    mismatched = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in report["mismatched_keys"])
    problems = [
        f"{kind}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
        for kind, names in (
            ("missing tensors", missing),
            ("unexpected tensors", unexpected),
            ("wrong shapes", mismatched),
        )
        if names
    ]
    if problems:
        raise CheckpointMismatch(f"{path} does not hold the {task} its config.json describes: " + "; ".join(problems))


def _tabulate_rotary(model: Any) -> None:
    """Replace ModernBERT's rotary module, which computes angles in the graph, by a table of the same values."""
    encoder: Any = getattr(model, "model", model)
    if encoder.config.model_type != "modernbert":
        return
    parameters = encoder.config.rope_parameters
    if any(kind["rope_type"] != "default" for kind in parameters.values()):
        return  # a scaled variant, which transformers' own module computes
    encoder.rotary_emb = TableRotary(
        positions=encoder.config.max_position_embeddings,
        head_size=encoder.config.hidden_size // encoder.config.num_attention_heads,
        bases={name: float(kind["rope_theta"]) for name, kind in parameters.items()},
    )
