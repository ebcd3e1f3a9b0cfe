"""How a GPU of a given generation computes a checkpoint: in which precision, and with which attention. Pure.

GPUs before Ampere (GTX 16, RTX 20, T4) compute no bf16. The largest number of fp16 is 65,504, and the states of some
families exceed it: what follows is infinity, then NaN. Those compute in fp32 there, which takes twice the memory.

Families that are not listed have published uses in fp16, or no report against it: the BERT family (XLM-RoBERTa large
and bge-m3 among them), ModernBERT, nomic (measured), gte, DeBERTa (transformers scales queries before they are
multiplied), Llama, Mistral. A text that overflows all the same is computed by the CPU replica.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from trivet.config import GpuDtype

Capability = tuple[int, int]
"""The compute capability of a GPU: generation and revision."""

AMPERE: Final[Capability] = (8, 0)
"""The first generation with bf16 and with FlashAttention's kernels."""

_GEMMA: Final = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "embedding_gemma2"})
_QWEN: Final = frozenset({"qwen2", "qwen2_moe", "qwen3", "qwen3_moe"})
_QWEN_HOLDS_HIDDEN: Final = 1024
"""Qwen 2 and 3 of up to this hidden size (0.5B, 0.6B) are published for fp16. Larger ones overflow for some texts."""

_VARLEN_MOST_CHANNELS: Final = 256
"""FlashAttention's limit on the size of a head, which must be a multiple of 8."""


@dataclass(frozen=True, slots=True)
class GpuPrecision:
    """In what a model's body is computed."""

    dtype: GpuDtype
    because: str | None = None
    """Why it is not what was asked for, or what this GPU computes other models in; None if it is."""


def fp16_overflow(config: Mapping[str, Any]) -> str | None:
    """Return why a model cannot be computed in fp16, by its config.json; None if nothing is known against it."""
    kind, hidden = config.get("model_type"), config.get("hidden_size")
    if kind in _GEMMA:
        return "the states of Gemma models exceed the largest fp16 number"
    if kind in _QWEN and isinstance(hidden, int) and hidden > _QWEN_HOLDS_HIDDEN:
        return (
            f"the states of Qwen models with a hidden size above {_QWEN_HOLDS_HIDDEN:,} exceed the largest fp16 number"
        )
    return None


def gpu_precision(
    asked: Literal["auto", "bf16", "fp16", "fp32"], capability: Capability, overflow: str | None
) -> GpuPrecision:
    """Choose the precision of one model on one GPU.

    Args:
        asked: by the configuration, for all models.
        capability: of the GPU.
        overflow: `fp16_overflow` of the model.
    """
    has_bf16 = capability >= AMPERE
    usual: GpuDtype = "bf16" if has_bf16 else "fp16"
    wanted = usual if asked == "auto" else asked
    lacking = None
    if wanted == "bf16" and not has_bf16:
        wanted, lacking = "fp16", f"this GPU ({_named(capability)}) computes no bf16"
    if wanted == "fp16" and overflow is not None:
        wanted = "bf16" if has_bf16 else "fp32"
        lacking = f"{overflow}, and this GPU ({_named(capability)}) computes no bf16" if not has_bf16 else overflow
    return GpuPrecision(wanted, lacking)


def varlen_refusal(capability: Capability, dtype: GpuDtype, head_size: int) -> str | None:
    """Return why attention over sequences laid end to end cannot run; None where it can.

    Args:
        capability: of the GPU.
        dtype: in which the model is computed.
        head_size: channels of one attention head.
    """
    if capability < AMPERE:
        return f"the GPU's {_named(capability)} is below {AMPERE[0]}.{AMPERE[1]}"
    if dtype == "fp32":
        return "the model computes in fp32, not in 16 bits"
    if head_size % 8 or head_size > _VARLEN_MOST_CHANNELS:
        return f"a head has {head_size} channels, which is no multiple of 8 up to {_VARLEN_MOST_CHANNELS}"
    return None


def _named(capability: Capability) -> str:
    return f"compute capability {capability[0]}.{capability[1]}"
