"""Loads a checkpoint as a flat model: encoder, attention and head, from token ids to a sequence's numbers.

Imports torch and safetensors; never transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trivet.checkpoint.files import read_config
from trivet.checkpoint.flat_encoders import (
    BertConfig,
    FlatConfig,
    ModernBertConfig,
    NomicConfig,
    read_flat_config,
)
from trivet.checkpoint.pooling import read_pooling_modes
from trivet.config import Task
from trivet.engine.models.flat.attention import Attention, AttentionKind, PaddedAttention, choose_attention
from trivet.engine.models.flat.bert import BertEncoder, bert_tensors
from trivet.engine.models.flat.heads import ClassificationHead
from trivet.engine.models.flat.layers import Fp32Linear
from trivet.engine.models.flat.modernbert import ModernBertEncoder, modernbert_tensors
from trivet.engine.models.flat.nomic import ALL_EXPERTS_UP_TO_TOKENS, Experts, NomicEncoder, mix_by_size, nomic_tensors
from trivet.engine.models.flat.weights import Naming, load_weights
from trivet.engine.models.pooling import Pooling
from trivet.engine.models.spans import FlatSpans


class FlatModel(nn.Module):
    """``forward(ids, token_types, positions, cu_seqlens, max_len) -> (S, outputs) fp32``.

    An embedder gives pooled vectors that are not normalised, a reranker or classifier logits. S sequences lie end to
    end as N tokens; nothing is padded, unless attention is (`PaddedAttention`). On CUDA nothing in the forward
    waits for the device, so it can be captured as a graph; see :attr:`capturable_tokens`.
    """

    def __init__(self, architecture: FlatConfig, head: ClassificationHead | Pooling) -> None:
        super().__init__()
        self.encoder = _encoder(architecture)
        self.head = head
        self.attention: Attention = PaddedAttention()
        self.max_tokens = architecture.max_tokens
        """Tokens of the longest sequence that the model has positions for."""

    def forward(
        self, ids: Tensor, token_types: Tensor | None, positions: Tensor, cu_seqlens: Tensor, max_len: int
    ) -> Tensor:
        """Compute a batch.

        Args:
            ids: (N,) int32 or int64.
            token_types: (N,) int32 or int64, or None for all 0; a model with one token type ignores them.
            positions: (N,) int32 or int64, of each token within its sequence, from 0.
            cu_seqlens: (S + 1,) int32, where each sequence begins, and N at the end; see
                `trivet.engine.models.spans.FlatSpans` for batches that are filled up.
            max_len: tokens of the longest sequence, or any larger number up to `max_tokens`.

        Raises:
            ValueError: `max_len` is more than the model has positions for. On a GPU the look-up would poison the
                process's CUDA context instead.
        """
        if max_len > self.max_tokens:
            raise ValueError(f"a sequence of {max_len} tokens; the model has positions for {self.max_tokens}")
        spans = FlatSpans(cu_seqlens, max_len, positions)
        hidden = self.encoder(ids, token_types, positions, self.attention(spans))  # (N, H)
        outputs: Tensor = self.head(hidden, spans)
        return outputs

    @property
    def capturable_tokens(self) -> int | None:
        """Most tokens of a batch that can be captured as a CUDA graph; None where there is no limit."""
        waits = any(isinstance(module, Experts) and module.mix is mix_by_size for module in self.modules())
        return ALL_EXPERTS_UP_TO_TOKENS if waits else None


class FlatCheckpoint:
    """A checkpoint that the flat modules compute: what is known of it before its weights are read."""

    def __init__(
        self,
        model_dir: Path,
        task: Task,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        attention: AttentionKind = "auto",
    ) -> None:
        """Read the description; the weights are read by `load`.

        Args:
            model_dir: a directory in Hugging Face (or sentence-transformers) layout.
            task: ``embedder``, ``reranker`` or ``classifier``.
            dtype: of the body's weights and computation. The head, the router of a mixture and the results are fp32.
            device: where the weights go, tensor by tensor.
            attention: ``auto`` takes the fastest that the device allows.

        Raises:
            UnsupportedArchitecture: the flat modules do not compute this checkpoint; transformers may.
            ModelError: files are missing, the checkpoint's pooling is not supported, or the attention cannot run here.
        """
        self._model_dir, self._task, self._dtype, self._device = model_dir, task, dtype, torch.device(device)
        self._architecture = architecture = read_flat_config(read_config(model_dir), task)
        self._attention = choose_attention(
            attention, self._device, dtype, architecture.hidden_size // architecture.heads
        )

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest sequence that the model has positions for."""
        return self._architecture.max_tokens

    @property
    def pads_attention(self) -> bool:
        """Whether attention takes memory and work for sequences × longest instead of the sum of the lengths."""
        return isinstance(self._attention, PaddedAttention)

    @cached_property
    def weights_bytes(self) -> int:
        """What the parameters and tables take on the device."""
        model = self._on_meta()
        dtype_of = _dtypes(model, self._dtype)
        parameters = sum(tensor.numel() * dtype_of(name).itemsize for name, tensor in model.named_parameters())
        return parameters + sum(buffer.nbytes for buffer in model.buffers())

    def load(self) -> FlatModel:
        """Read the weights; the model is in evaluation mode.

        Raises:
            CheckpointMismatch: the files' tensors are not the architecture's; the message names them.
            ModelError: files are missing, or the checkpoint is a pickle.
        """
        model = self._on_meta()
        load_weights(
            model,
            self._model_dir,
            _naming(self._architecture),
            what=self._task,
            device=self._device,
            dtype_of=_dtypes(model, self._dtype),
        )
        model.attention = self._attention
        return model.eval().requires_grad_(False)

    def _on_meta(self) -> FlatModel:
        with torch.device("meta"), _WithoutInitialising():
            return FlatModel(self._architecture, _head(self._architecture, self._model_dir))


class _WithoutInitialising(TorchFunctionMode):
    """Builds modules without the random numbers that `load_weights` would replace.

    On the meta device torch would import its compiler for them: seconds, and hundreds of megabytes.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def load_flat_model(
    model_dir: Path,
    task: Task,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    attention: AttentionKind = "auto",
) -> FlatModel:
    """Load a checkpoint directory for one task; see `FlatCheckpoint` for arguments and errors."""
    return FlatCheckpoint(model_dir, task, dtype, device, attention).load()


def load_flat_encoder(model_dir: Path, task: Task, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Load what computes hidden states, on the CPU: for a checkpoint whose pooling and head are computed elsewhere.

    Raises:
        ModelError: as `FlatCheckpoint` raises it.
    """
    architecture = read_flat_config(read_config(model_dir), task)
    with torch.device("meta"), _WithoutInitialising():
        model = nn.ModuleDict({"encoder": _encoder(architecture)})  # named as in a `FlatModel`
    load_weights(
        model,
        model_dir,
        _naming(architecture),
        what=task,
        device=torch.device("cpu"),
        dtype_of=_dtypes(model, dtype),
    )
    return model["encoder"]


def _encoder(architecture: FlatConfig) -> nn.Module:
    if isinstance(architecture, BertConfig):
        return BertEncoder(architecture)
    if isinstance(architecture, ModernBertConfig):
        return ModernBertEncoder(architecture)
    return NomicEncoder(architecture)


def _head(architecture: FlatConfig, model_dir: Path) -> ClassificationHead | Pooling:
    if isinstance(architecture, NomicConfig) or architecture.head is None:
        return Pooling(read_pooling_modes(model_dir))
    return ClassificationHead(architecture.hidden_size, architecture.head)


def _naming(architecture: FlatConfig) -> Naming:
    if isinstance(architecture, BertConfig):
        return Naming((architecture.prefix,), lambda _: bert_tensors(architecture))
    if isinstance(architecture, ModernBertConfig):
        return Naming(("model.",), lambda _: modernbert_tensors(architecture))
    sources = partial(nomic_tensors, architecture)
    if architecture.moe is not None:
        return Naming((), sources, other_uses=None)  # published in one form only
    return Naming(("nomic_bert.", "bert."), sources)


def _dtypes(model: nn.Module, dtype: torch.dtype) -> Callable[[str], torch.dtype]:
    """The dtype of each parameter, by its name."""
    kept = _kept_in_fp32(model)
    return lambda name: torch.float32 if name in kept else dtype


def _kept_in_fp32(model: nn.Module) -> set[str]:
    """Names of the parameters that compute in fp32 in any case: the head's, and those of fp32 layers in the body."""
    layers = [name for name, module in model.named_modules() if isinstance(module, Fp32Linear)]
    return {
        name for name, _ in model.named_parameters() if name.startswith("head.") or name.rpartition(".")[0] in layers
    }
