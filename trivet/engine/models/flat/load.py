"""Loads a checkpoint as a flat model: body, attention and head, from token ids to a sequence's numbers.

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
from trivet.checkpoint.flat.bert import BertConfig
from trivet.checkpoint.flat.decoders import DecoderConfig
from trivet.checkpoint.flat.heads import ClassifierHeadConfig, HeadConfig, PooledHeadConfig
from trivet.checkpoint.flat.model import BodyConfig, read_body, read_flat
from trivet.checkpoint.flat.modernbert import ModernBertConfig
from trivet.config import Task
from trivet.engine.models.flat.attention import (
    Attention,
    AttentionKind,
    PaddedAttention,
    choose_attention,
    varlen_refusal,
)
from trivet.engine.models.flat.bert import BertEncoder, bert_tensors
from trivet.engine.models.flat.decoder import Decoder, decoder_tensors
from trivet.engine.models.flat.experts import ALL_EXPERTS_UP_TO_TOKENS, Experts, mix_by_size
from trivet.engine.models.flat.heads import ClassificationHead, classifier_tensors, read_pooled_head
from trivet.engine.models.flat.layers import Fp32Linear
from trivet.engine.models.flat.modernbert import ModernBertEncoder, modernbert_tensors
from trivet.engine.models.flat.rotary_encoder import RotaryEncoder, gte_tensors, nomic_tensors
from trivet.engine.models.flat.weights import Naming, load_weights
from trivet.engine.models.pooling import PooledHead
from trivet.engine.models.spans import FlatSpans


class FlatModel(nn.Module):
    """``forward(ids, token_types, positions, cu_seqlens, max_len) -> (S, outputs) fp32``.

    An embedder gives pooled vectors that are not normalised, a reranker or classifier logits. S sequences lie end to
    end as N tokens; nothing is padded, unless attention is (`PaddedAttention`). On CUDA nothing in the forward
    waits for the device, so it can be captured as a graph; see :attr:`capturable_tokens`.
    """

    def __init__(
        self, encoder: nn.Module, head: ClassificationHead | PooledHead, attention: Attention, max_tokens: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.attention = attention
        self.max_tokens = max_tokens
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
        recipe: str | None = None,
    ) -> None:
        """Read the description; the weights are read by `load`.

        Args:
            model_dir: a directory in Hugging Face (or sentence-transformers) layout.
            task: ``embedder``, ``reranker`` or ``classifier``.
            dtype: of the body's weights and computation. The head, the router of a mixture and the results are fp32.
            device: where the weights go, tensor by tensor.
            attention: ``auto`` takes the fastest that the device allows.
            recipe: how it is used where no file says so; see `trivet.checkpoint.modules.read_modules`.

        Raises:
            UnsupportedArchitecture: the flat modules do not compute this checkpoint; transformers may.
            ModelError: files are missing, or the attention cannot run here.
        """
        self._model_dir, self._task, self._dtype, self._device = model_dir, task, dtype, torch.device(device)
        config = read_flat(model_dir, task, recipe)
        self._body, self._head = config.body, config.head
        self._attention = choose_attention(attention, self._device, dtype, self._body.head_size)

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest sequence that the model has positions for."""
        return self._body.max_tokens

    @property
    def attention_padded_because(self) -> str | None:
        """Why attention takes memory and work for sequences × longest; None where it takes the sum of the lengths."""
        if not isinstance(self._attention, PaddedAttention):
            return None
        return varlen_refusal(self._device, self._dtype, self._body.head_size) or "padded attention was asked for"

    @cached_property
    def weights_bytes(self) -> int:
        """What the parameters and tables take on the device."""
        named = _on_meta(self._body, self._head)
        dtype_of = _dtypes(named, self._dtype)
        named_bytes = sum(tensor.numel() * dtype_of(name).itemsize for name, tensor in named.named_parameters())
        own = () if isinstance(self._head, ClassifierHeadConfig) else self._pooled_head().parameters()
        other_bytes: int = sum(tensor.nbytes for tensor in (*own, *named.buffers()))
        return named_bytes + other_bytes

    def load(self) -> FlatModel:
        """Read the weights; the model is in evaluation mode.

        Raises:
            CheckpointMismatch: the files' tensors are not the architecture's; the message names them.
            ModelError: files are missing, or the checkpoint is a pickle.
        """
        named = _on_meta(self._body, self._head)
        _load_named(named, self._model_dir, self._task, self._body, self._head, self._device, self._dtype)
        head: Any = named["head"] if "head" in named else self._pooled_head().to(self._device)
        model = FlatModel(named["encoder"], head, self._attention, self._body.max_tokens)
        return model.eval().requires_grad_(False)

    def _pooled_head(self) -> PooledHead:
        assert not isinstance(self._head, ClassifierHeadConfig)
        return read_pooled_head(self._model_dir, self._head, self._body)


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
    recipe: str | None = None,
) -> FlatModel:
    """Load a checkpoint directory for one task; see `FlatCheckpoint` for arguments and errors."""
    return FlatCheckpoint(model_dir, task, dtype, device, attention, recipe).load()


def load_flat_encoder(model_dir: Path, task: Task, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Load what computes hidden states, on the CPU: for a checkpoint whose pooling and head are computed elsewhere.

    Raises:
        ModelError: as `FlatCheckpoint` raises it.
    """
    body = read_body(read_config(model_dir))
    named = _on_meta(body, None)
    _load_named(named, model_dir, task, body, None, torch.device("cpu"), dtype)
    return named["encoder"]


def _on_meta(body: BodyConfig, head: HeadConfig | None) -> nn.ModuleDict:
    """The modules whose tensors are read by their published names: `encoder`, and `head` if it is the encoder's own."""
    with torch.device("meta"), _WithoutInitialising():
        named = nn.ModuleDict({"encoder": _encoder(body)})
        if isinstance(head, ClassifierHeadConfig):
            named["head"] = ClassificationHead(body.hidden_size, head)
    return named


def _load_named(
    named: nn.ModuleDict,
    model_dir: Path,
    task: Task,
    body: BodyConfig,
    head: HeadConfig | None,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    dtype_of = _dtypes(named, dtype)
    load_weights(named, model_dir, _naming(body, head), what=task, device=device, dtype_of=dtype_of)


def _encoder(body: BodyConfig) -> nn.Module:
    if isinstance(body, BertConfig):
        return BertEncoder(body)
    if isinstance(body, ModernBertConfig):
        return ModernBertEncoder(body)
    return Decoder(body) if isinstance(body, DecoderConfig) else RotaryEncoder(body)


def _naming(body: BodyConfig, head: HeadConfig | None) -> Naming:
    of_head = classifier_tensors(head) if isinstance(head, ClassifierHeadConfig) else {}
    if isinstance(body, BertConfig):
        return Naming((body.prefix,), lambda _: bert_tensors(body) | of_head)
    if isinstance(body, ModernBertConfig):
        return Naming(("model.",), lambda _: modernbert_tensors(body) | of_head)
    if isinstance(body, DecoderConfig):
        projects = isinstance(head, PooledHeadConfig) and head.projection is not None
        read_elsewhere = frozenset({"linear.weight"}) if projects else frozenset[str]()
        return Naming(("model.",), lambda _: decoder_tensors(body), read_elsewhere=read_elsewhere)
    if body.moe is not None:
        return Naming((), partial(nomic_tensors, body), other_uses=None)  # published in one form only
    if body.naming == "nomic":
        return Naming(("nomic_bert.", "bert."), partial(nomic_tensors, body))
    return Naming(("new.", "gte."), lambda names: gte_tensors(body, names) | of_head)


def _dtypes(named: nn.Module, dtype: torch.dtype) -> Callable[[str], torch.dtype]:
    """The dtype of each parameter, by its name."""
    kept = _kept_in_fp32(named)
    return lambda name: torch.float32 if name in kept else dtype


def _kept_in_fp32(named: nn.Module) -> set[str]:
    """Names of the parameters that compute in fp32 in any case: the head's, and those of fp32 layers in the body."""
    layers = [name for name, module in named.named_modules() if isinstance(module, Fp32Linear)]
    return {
        name for name, _ in named.named_parameters() if name.startswith("head.") or name.rpartition(".")[0] in layers
    }
