"""Buffers of graphs that are returned while a model is idle: the next forward computes what it would have computed."""

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.engine.openvino.test_convert import TASKS
from tests.support.conversions import convert_here
from trivet.engine.backend import Backend
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.openvino.open import open_ir


def opened(checkpoints: dict[str, Path], ir_cache: Path, name: str) -> Backend:
    return open_ir(convert_here(checkpoints[name], TASKS[name], "fp32", ir_cache), "fp32", threads=2, token_budget=1024)


def batch_of(*lengths: int) -> TokenBatch:
    rng = np.random.default_rng(sum(lengths))
    return TokenBatch.of([rng.integers(5, 900, size=length, dtype=np.int32) for length in lengths], pad_id=1)


BATCHES = [batch_of(200, 180, 190), batch_of(8), batch_of(600, 13)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ModernBERT-large-zeroshot-v2.0", "minilm"])
def test_outputs_are_the_same(name: str, checkpoints: dict[str, Path], ir_cache: Path) -> None:
    backend = opened(checkpoints, ir_cache, name)
    batches = [batch for batch in BATCHES if name != "minilm" or batch.max_len <= 512]
    before = [backend.launch(batch).result() for batch in batches]
    for _ in range(2):
        backend.release_scratch()
        for batch, expected in zip(batches, before, strict=True):
            np.testing.assert_array_equal(backend.launch(batch).result(), expected)


@pytest.mark.slow
def test_memory_is_returned(checkpoints: dict[str, Path], ir_cache: Path) -> None:
    """What a forward of many tokens needs is many times what its model is."""
    backend = opened(checkpoints, ir_cache, "minilm")
    large = batch_of(*[500] * 16)
    backend.launch(large).result()
    gc.collect()
    used = psutil.Process().memory_full_info().uss
    backend.release_scratch()
    assert psutil.Process().memory_full_info().uss < used - 20e6
