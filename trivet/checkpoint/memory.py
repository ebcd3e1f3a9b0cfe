"""Estimates a model's memory from its files: parameters, and activation bytes per token.

Activations are estimated for one encoder layer at its peak, in inference, with fused attention. A GPU replica measures
the figure at warm-up, and `ModelFacts.measured_activation_bytes_per_token` then replaces the estimate. No weights are
read: the config.json and the headers of the safetensors files suffice.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.files import find_weight_files, read_config
from trivet.checkpoint.gpu_form import fp16_overflow
from trivet.config import CpuPrecision, GpuDtype
from trivet.errors import ModelError

Dtype: TypeAlias = GpuDtype
Attention = Literal["fused", "eager"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
ITEM_BYTES: Mapping[Dtype, int] = MappingProxyType({"bf16": 2, "fp16": 2, "fp32": 4})
_CPU_ITEM_BYTES: Mapping[CpuPrecision, int] = MappingProxyType({"fp32": 4, "bf16": 2, "int8": 1})

_ALLOCATOR_SLACK = 1.25
"""Factor for what the allocator adds: it rounds blocks up and reuses them imperfectly between sequence lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The properties of one model that its memory depends on."""

    name: str
    parameters: int
    hidden: int
    feed_forward: int
    heads: int
    max_tokens: int
    gated: bool = False
    """Whether the feed-forward part has two input projections (GeGLU)."""
    experts_per_token: int = 1
    """How many experts of a mixture each token passes through."""
    attention: Attention = "fused"
    """"eager" if the scores of all heads are in memory at once: disentangled attention has no fused kernel."""
    fp16_overflow: str | None = None
    """Why it cannot be computed in fp16; None if it can."""
    measured_activation_bytes_per_token: int | None = None
    source: str | None = None
    """The folder that they were read from; None where they are known without it."""

    def gpu_dtype(self, dtype: Dtype) -> Dtype:
        """Return the precision on a GPU that computes other models in `dtype`; fp16 means that it computes no bf16."""
        return "fp32" if dtype == "fp16" and self.fp16_overflow is not None else dtype

    def weights_bytes(self, dtype: Dtype) -> int:
        """Return the size of the weights at this precision."""
        return self.parameters * ITEM_BYTES[dtype]

    def cpu_bytes(self, precision: CpuPrecision, tokens: int) -> int:
        """Return the size of the weights on the CPU and of the activations of one forward.

        What a process holds besides is not in it (docs/memory.md).
        """
        return self.parameters * _CPU_ITEM_BYTES[precision] + tokens * self.activation_bytes_per_token("fp32")

    def gpu_bytes(self, dtype: Dtype, tokens: int) -> int:
        """Do the same for a GPU."""
        return self.weights_bytes(dtype) + tokens * self.activation_bytes_per_token(dtype)

    def activation_bytes_per_token(self, dtype: Dtype) -> int:
        """Return the bytes per token at the peak of a forward, for a batch of the longest sequences."""
        if self.measured_activation_bytes_per_token is not None:
            return self.measured_activation_bytes_per_token
        attention = 9 * self.hidden  # two residuals, normed, q k v, rotated q k, output
        if self.attention == "eager":  # a row of the mask, and scores, probabilities and a positional term of each head
            attention += self.max_tokens * (1 + 3 * self.heads)
        widened = 3 if self.gated else 2  # (gate,) input and product
        routed = 2 * self.hidden if self.experts_per_token > 1 else 0  # a token's rows, sorted by expert, and back
        feed_forward = 3 * self.hidden + self.experts_per_token * (widened * self.feed_forward + routed)
        pooled = 4 * self.hidden  # the last hidden state in fp32
        return round(_ALLOCATOR_SLACK * (max(attention, feed_forward) * ITEM_BYTES[dtype] + pooled))


def facts_from_config(name: str, config: Mapping[str, Any], parameters: int) -> ModelFacts:
    """Derive a model's facts from its config.json. Raises `ModelError`, which names a missing field."""

    architecture = Architecture(name, config)
    if architecture.max_tokens is None:
        raise ModelError(f"{name}: config.json states no max_position_embeddings or max_trained_positions")
    return ModelFacts(
        name=name,
        parameters=parameters,
        hidden=architecture.hidden_size,
        feed_forward=architecture.intermediate_size,
        heads=architecture.heads,
        max_tokens=architecture.max_tokens,
        gated=architecture.has_gated_mlp,
        experts_per_token=int(config.get("moe_top_k") or 1) if config.get("num_experts") else 1,
        attention="eager" if architecture.has_disentangled_attention else "fused",
        fp16_overflow=fp16_overflow(config),
    )


def facts_from_directory(directory: Path) -> ModelFacts:
    """Derive the facts of a checkpoint in Hugging Face layout. Raises `ModelError` if `directory` does not hold one."""
    config = read_config(directory)
    facts = facts_from_config(directory.name, config, sum(map(_parameters_in, find_weight_files(directory))))
    return replace(facts, source=str(directory))


def _parameters_in(shard: Path) -> int:
    """Count the elements of all tensors from the file's header, which is its length in 8 bytes followed by JSON."""
    with shard.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise ModelError(f"{shard}: too short to be a safetensors file")
        (header_bytes,) = struct.unpack("<Q", prefix)
        try:
            header = json.loads(file.read(min(header_bytes, shard.stat().st_size)))
            if not isinstance(header, dict):
                raise ValueError("it is no JSON object")
            return sum(_elements(name, tensor) for name, tensor in header.items() if name != "__metadata__")
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{shard}: damaged safetensors header: {error}") from error


def _elements(name: str, tensor: Any) -> int:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"the tensor {name[:80]!r} has no shape")
    return math.prod(shape)
