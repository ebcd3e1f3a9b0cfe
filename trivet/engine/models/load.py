"""Loads any supported checkpoint from a local directory behind one signature.

``forward(input_ids (B, T) int64, attention_mask (B, T) int64[, token_type_ids (B, T) int64]) -> fp32``, where the
result is (B, D) pooled vectors for an embedder (not normalised) and (B, labels) logits for a reranker or classifier.
``input_names`` says which arguments the model takes. Sequences are padded on the right.

Only safetensors are read, and remote code is never run. A tensor that a model needs and the files lack is an error;
transformers alone would fill it with random numbers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.files import CheckpointMismatch, find_weight_files
from trivet.checkpoint.nomic import is_nomic_moe
from trivet.config import Task
from trivet.engine.models import banded
from trivet.engine.models.nomic_moe import load_nomic_moe
from trivet.engine.models.pooling import Pooling, read_pooling
from trivet.engine.models.rotary import TableRotary
from trivet.engine.models.spans import BinSpans
from trivet.errors import ModelError

# Encoders whose attention goes through transformers' interfaces with plain padding masks, so that ours can replace it.
# It takes one (B, 1, 1, T) key mask per forward instead of (B, 1, T, T), and never reads its values on the host.
_OUR_ATTENTION = frozenset({"bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"})

# Tensors that a file may hold for other uses: language-model and classification heads, a pooler, stored indices.
_EXTRA_TENSORS = re.compile(
    r"(^|\.)(cls|lm_head|classifier|head|decoder|pooler|score|mlm_head|vocab_\w+|qa_outputs|pre_classifier)\."
    r"|(^|\.)(position_ids|inv_freq|token_type_ids)$"
)
_UNUSED_POOLER = re.compile(r"(^|\.)pooler\.")


class Embedder(nn.Module):
    """An encoder and its pooling."""

    input_names = ("input_ids", "attention_mask")

    def __init__(self, encoder: nn.Module, pooling: Pooling, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = encoder
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T), (B, T) → (B, D) fp32."""
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        hidden = output if isinstance(output, Tensor) else output.last_hidden_state  # (B, T, H)
        pooled: Tensor = self.pooling(hidden.flatten(0, 1), BinSpans.of_padded(attention_mask))
        return pooled


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


def load_torch_model(
    path: Path, task: Task, dtype: torch.dtype = torch.float32, *, for_export: bool = False
) -> Embedder | SequenceClassifier:
    """Load a checkpoint directory for one task, in evaluation mode, on the CPU.

    Args:
        path: a directory in Hugging Face (or sentence-transformers) layout.
        task: ``embedder``, ``reranker`` or ``classifier``.
        dtype: of the weights and of the computation; results are fp32 in any case.
        for_export: use modules whose graph, traced at one length, is right for every length.

    Raises:
        ModelError: the directory is not a checkpoint for this task that can be loaded safely; the message names the
            file, field, tensor or module at fault.
    """
    architecture = Architecture.read(path)
    find_weight_files(path)
    if is_nomic_moe(architecture.config):
        if task != "embedder":
            raise ModelError(f"{path} is a nomic v2 MoE, an embedder; it cannot serve as a {task}")
        model: Embedder | SequenceClassifier = Embedder(load_nomic_moe(path, dtype), read_pooling(path), architecture)
    else:
        loaded = _load_transformers(path, architecture, task, dtype, for_export=for_export)
        if task == "embedder":
            model = Embedder(loaded, read_pooling(path), architecture)
        else:
            model = SequenceClassifier(loaded, architecture)
    return model.eval().requires_grad_(False)


def _load_transformers(
    path: Path, architecture: Architecture, task: Task, dtype: torch.dtype, *, for_export: bool
) -> nn.Module:
    # Imported here: transformers takes seconds to import, and a caller may only want the nomic module.
    from transformers import AutoModel, AutoModelForSequenceClassification

    options: dict[str, Any] = {}
    if architecture.model_type in _OUR_ATTENTION and not architecture.is_decoder:
        banded.register()
        options["attn_implementation"] = banded.ALWAYS_BLOCKED if for_export else banded.ADAPTIVE
    auto = AutoModel if task == "embedder" else AutoModelForSequenceClassification
    try:
        model, report = auto.from_pretrained(
            path,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported instead, so that the refusal below can name them
            **options,
        )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be loaded as a {task}: {error}") from error
    _check_report(path, task, report)
    _tabulate_rotary(model)
    loaded: nn.Module = model
    return loaded


def _check_report(path: Path, task: Task, report: dict[str, Any]) -> None:
    missing = sorted(
        name for name in report["missing_keys"] if not (task == "embedder" and _UNUSED_POOLER.search(name))
    )
    unexpected = sorted(name for name in report["unexpected_keys"] if not _EXTRA_TENSORS.search(name))
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
