"""On a real GPU: the CUDA lane's results, out-of-memory under a cap, offloading, and NVML's view of this process."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from trivet.config import AppConfig
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.open import open_cuda_backend, open_engine, prepare_model
from trivet.errors import GpuUnavailable
from trivet.messages import EmbedRequest, EmbedResult
from trivet.vram.probe import NvmlProbe
from trivet.vram.registry import Registry, ReplicaReport

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

TEXTS = (*("word " * length for length in (1, 5, 40, 200)), "def area(r): return PI * r * r")


@pytest.fixture
def config(tmp_path: Path) -> Iterator[AppConfig]:
    yield AppConfig.model_validate({"device": "cuda", "serving": {"cache_dir": str(tmp_path)}})
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_embeddings_point_where_sentence_transformers_do(config: AppConfig) -> None:
    prepared = prepare_model(config, "embedder")
    backend, precision = open_cuda_backend(config, prepared)
    assert backend.reload()

    async def embed() -> EmbedResult:
        engine = open_engine(config, prepared, backend, precision)
        engine.start()
        result = await engine.run(EmbedRequest(TEXTS))
        assert isinstance(result, EmbedResult)
        await engine.close()
        return result

    result = asyncio.run(embed())
    assert result.device.startswith("cuda:")
    expected = SentenceTransformer(str(prepared.source.path), device="cpu").encode(list(TEXTS))
    assert (result.vectors * expected).sum(axis=1).min() >= 0.9995


def test_running_out_splits_and_one_sequence_too_many_goes_to_the_cpu_replica(config: AppConfig) -> None:
    backend, _ = open_cuda_backend(config, prepare_model(config, "embedder"))
    assert backend.reload()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (192 << 20)) / total)
    ids = np.full(256, 2000, dtype=np.int32)
    batch = TokenBatch.of([np.concatenate([ids[:-1], [3000 + n]]).astype(np.int32) for n in range(2048)])
    outputs = backend.launch(batch).result()
    assert len(outputs) == 2048
    assert backend.oom_splits > 0
    assert backend.token_budget < config.gpu.token_budget


def test_offloading_gives_memory_back_and_returning_takes_it(config: AppConfig) -> None:
    backend, _ = open_cuda_backend(config, prepare_model(config, "embedder"))
    before = torch.cuda.memory_reserved()
    assert backend.reload()
    assert torch.cuda.memory_reserved() >= before + backend.memory().weights_bytes
    backend.offload()
    assert torch.cuda.memory_reserved() <= before
    with pytest.raises(GpuUnavailable):
        backend.launch(TokenBatch.of([np.array([101, 102], dtype=np.int32)])).result()


def test_nvml_sees_this_process_as_ours() -> None:
    held = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    registry = Registry()
    registry.report(ReplicaReport(model="embedder", pid=os.getpid(), at_s=time.monotonic(), held_bytes=held.nbytes))
    observation = NvmlProbe(registry, time.monotonic, timeout_s=10).read()
    assert observation.known, observation.unknown_reason
    assert observation.ours_bytes["embedder"] >= held.nbytes
