"""In which precision, and with which attention, a GPU of each generation computes a checkpoint."""

from collections.abc import Mapping
from typing import Any

import pytest

from trivet.checkpoint.gpu_form import Capability, GpuPrecision, fp16_overflow, gpu_precision, varlen_refusal

TURING: Capability = (7, 5)
ADA: Capability = (8, 9)
TOO_LARGE = "its states are too large"


@pytest.mark.parametrize(
    ("config", "holds"),
    [
        ({"model_type": "gemma", "hidden_size": 64}, False),
        ({"model_type": "gemma2", "hidden_size": 64}, False),
        ({"model_type": "gemma3_text", "hidden_size": 768}, False),  # EmbeddingGemma
        ({"model_type": "qwen3", "hidden_size": 1024}, True),  # Qwen3-Embedding-0.6B
        ({"model_type": "qwen3", "hidden_size": 2560}, False),
        ({"model_type": "qwen2", "hidden_size": 1536}, False),  # gte-Qwen2-1.5B
        ({"model_type": "qwen2", "hidden_size": 896}, True),
        ({"model_type": "xlm-roberta", "hidden_size": 1024}, True),
        ({"model_type": "modernbert", "hidden_size": 1024}, True),
        ({"model_type": "deberta-v2", "hidden_size": 1024}, True),
        ({"model_type": "mistral", "hidden_size": 4096}, True),
        ({"model_type": "qwen3", "hidden_size": "wide"}, True),  # other code refuses it
        ({}, True),
    ],
)
def test_which_models_fp16_holds(config: Mapping[str, Any], holds: bool) -> None:
    reason = fp16_overflow(config)
    assert (reason is None) is holds
    if reason is not None:
        assert "exceed the largest fp16 number" in reason


@pytest.mark.parametrize(
    ("asked", "capability", "overflow", "dtype", "because"),
    [
        ("auto", ADA, None, "bf16", None),
        ("auto", ADA, TOO_LARGE, "bf16", None),
        ("auto", TURING, None, "fp16", None),
        ("auto", TURING, TOO_LARGE, "fp32", "compute capability 7.5"),
        ("fp16", ADA, None, "fp16", None),
        ("fp16", ADA, TOO_LARGE, "bf16", TOO_LARGE),
        ("fp16", TURING, TOO_LARGE, "fp32", TOO_LARGE),
        ("bf16", ADA, TOO_LARGE, "bf16", None),
        ("bf16", TURING, None, "fp16", "computes no bf16"),
        ("bf16", TURING, TOO_LARGE, "fp32", "computes no bf16"),
        ("fp32", ADA, None, "fp32", None),
        ("fp32", TURING, TOO_LARGE, "fp32", None),
    ],
)
def test_the_precision_of_a_model_on_a_gpu(
    asked: Any, capability: Capability, overflow: str | None, dtype: Any, because: str | None
) -> None:
    chosen = gpu_precision(asked, capability, overflow)
    assert chosen.dtype == dtype
    assert chosen == GpuPrecision(dtype) if because is None else because in str(chosen.because)


@pytest.mark.parametrize("head_size", [8, 32, 64, 72, 80, 96, 128, 256])
def test_heads_that_attention_over_packed_sequences_takes(head_size: int) -> None:
    for capability in ((8, 0), (8, 6), ADA, (9, 0), (12, 0)):
        assert varlen_refusal(capability, "bf16", head_size) is None


def test_what_it_refuses_is_said_with_the_number() -> None:
    assert "7.5 is below 8.0" in str(varlen_refusal(TURING, "fp16", 64))
    assert "fp32" in str(varlen_refusal(ADA, "fp32", 64))
    for head_size in (12, 84, 264, 320):
        assert f"{head_size} channels" in str(varlen_refusal(ADA, "bf16", head_size))
