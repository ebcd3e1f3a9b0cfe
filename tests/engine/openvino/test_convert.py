"""Converted graphs equal the torch models at every length and with padding."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.conversions import convert_here
from trivet.config import CpuPrecision, Task
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.models.load import load_torch_model
from trivet.engine.openvino.open import open_ir

pytestmark = pytest.mark.slow  # each conversion traces a model

TASKS: dict[str, Task] = {
    "nomic-embed-text-v2-moe": "embedder",
    "bge-reranker-base": "reranker",
    "ModernBERT-large-zeroshot-v2.0": "classifier",
    "minilm": "embedder",
}
LENGTHS = [(1,), (2, 1), (64,), (65, 3), (128, 127), (129,), (257, 9, 130), (400, 64)]

Floats = NDArray[np.float32]
Run = Callable[[TokenBatch], Floats]


@pytest.fixture(scope="module")
def compile_ir(checkpoints: dict[str, Path], ir_cache: Path) -> Callable[..., Run]:
    def compiled(name: str, precision: CpuPrecision) -> Run:
        ir_dir = convert_here(checkpoints[name], TASKS[name], precision, ir_cache)
        backend = open_ir(ir_dir, precision, threads=2, token_budget=1024)

        return lambda batch: backend.launch(batch).result()

    return compiled


def _batch(*lengths: int) -> TokenBatch:
    rng = np.random.default_rng(sum(lengths))
    return TokenBatch.of([rng.integers(5, 900, size=length, dtype=np.int32) for length in lengths], pad_id=1)


def _in_torch(model: Any, batch: TokenBatch) -> Floats:
    arrays = batch.padded()
    result: Floats = model(torch.tensor(arrays["input_ids"]), torch.tensor(arrays["attention_mask"])).numpy()
    return result


def _cosines(a: Floats, b: Floats) -> Floats:
    cosines: Floats = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


# tests/engine/test_parity.py compares MiniLM in fp32 with sentence-transformers.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.models if name == "minilm" else ()) for name in TASKS]
)
def test_fp32_equals_torch_at_every_length(
    name: str, checkpoints: dict[str, Path], compile_ir: Callable[..., Run]
) -> None:
    run, model = compile_ir(name, "fp32"), load_torch_model(checkpoints[name], TASKS[name])
    for lengths in LENGTHS:
        batch = _batch(*lengths)
        np.testing.assert_allclose(run(batch), _in_torch(model, batch), rtol=0, atol=1e-4, err_msg=str(lengths))


@pytest.mark.parametrize("name", ["nomic-embed-text-v2-moe", "ModernBERT-large-zeroshot-v2.0"])
def test_padding_changes_nothing(name: str, compile_ir: Callable[..., Run]) -> None:
    run = compile_ir(name, "fp32")
    alone = _batch(90)
    long = np.full(240, 7, dtype=np.int32)
    np.testing.assert_allclose(run(TokenBatch.of([alone.ids, long], pad_id=1))[:1], run(alone), rtol=0, atol=1e-5)


def test_bf16_keeps_the_direction_of_real_embeddings(
    checkpoints: dict[str, Path], compile_ir: Callable[..., Run]
) -> None:
    run, model = compile_ir("minilm", "bf16"), load_torch_model(checkpoints["minilm"], "embedder")
    for lengths in [(5, 9, 12), (64, 30), (128, 127), (250,)]:
        batch = _batch(*lengths)
        assert _cosines(run(batch), _in_torch(model, batch)).min() >= 0.9995


def test_int8_keeps_the_direction_of_real_embeddings_roughly(
    checkpoints: dict[str, Path], compile_ir: Callable[..., Run], record_property: Callable[[str, object], None]
) -> None:
    run, model = compile_ir("minilm", "int8"), load_torch_model(checkpoints["minilm"], "embedder")
    batch = _batch(12, 64, 30, 128, 90)
    lowest = float(_cosines(run(batch), _in_torch(model, batch)).min())
    record_property("lowest_cosine", lowest)
    assert lowest >= 0.99


def test_no_telemetry_is_sent_by_a_conversion() -> None:
    code = (
        "import trivet.engine.openvino.export.convert, sys, nncf\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(sys.modules['openvino_telemetry'], type(telemetry).__name__, telemetry_utils.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "MagicMock", "openvino.tools.ovc.telemetry_stub"]
