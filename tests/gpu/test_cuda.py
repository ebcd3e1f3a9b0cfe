"""On a real GPU: the lane's results, batches in flight, graphs, out-of-memory under a cap, offloading, NVML's view."""

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deployments.vram.own_memory import own_gpu_bytes
from tests.engine.models.flat.support import write_with_large_states
from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint.files import read_config
from trivet.checkpoint.gpu_form import fp16_overflow, gpu_precision
from trivet.config import AppConfig, Task
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.cuda.identity import current_gpu_uuid
from trivet.engine.cuda.programs import FlatProgram
from trivet.engine.cuda.runner import DTYPES, CudaAccelerator
from trivet.engine.models.flat.load import load_flat_model
from trivet.engine.open import open_cuda_backend, open_engine, prepare_model
from trivet.errors import GpuUnavailable
from trivet.messages import EmbedRequest, EngineRequest, EngineResult, RerankRequest
from trivet.units import GIB, MIB
from trivet.vram.nvml import list_gpus
from trivet.vram.probe import NvmlProbe
from trivet.vram.registry import Registry, ReplicaReport

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

TEXTS = (*("word " * length for length in (1, 5, 40, 200)), "def area(r): return PI * r * r")

Open = Callable[..., tuple[GpuLaneBackend, Callable[[EngineRequest], EngineResult]]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens a model's lane and returns it with a function that runs one request; closes everything at the end."""
    backends: list[GpuLaneBackend] = []

    def open_it(task: Task, **gpu: Any) -> tuple[GpuLaneBackend, Callable[[EngineRequest], EngineResult]]:
        model = gpu.pop("model", "starter")
        config = AppConfig.model_validate(
            {"device": "cuda", task: {"model": model}, "gpu": gpu, "serving": {"cache_dir": str(tmp_path)}}
        )
        prepared = prepare_model(config, task)
        backend, dtype = open_cuda_backend(config, prepared)
        backends.append(backend)
        assert backend.reload()

        async def once(request: EngineRequest) -> EngineResult:
            engine = open_engine(config, prepared, backend, dtype)
            engine.start()
            try:
                return await engine.run(request)
            finally:
                await engine.scheduler.close()

        return backend, lambda request: asyncio.run(once(request))

    yield open_it
    for backend in backends:
        backend.close()
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


def batch_of(*lengths: int, seed: int = 0) -> TokenBatch:
    rng = np.random.default_rng(seed)
    return TokenBatch.of([rng.integers(1000, 20000, length).astype(np.int32) for length in lengths])


@pytest.mark.parametrize("graph_tokens", [0, 16384])
def test_embeddings_point_where_sentence_transformers_do(opened: Open, tmp_path: Path, graph_tokens: int) -> None:
    _, run = opened("embedder", graph_tokens=graph_tokens)
    result: Any = run(EmbedRequest(TEXTS))
    assert result.device.startswith("cuda:")
    path = prepare_model(AppConfig.model_validate({"serving": {"cache_dir": str(tmp_path)}}), "embedder").source.path
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(path), device="cpu").encode(list(TEXTS))
    assert (result.vectors * expected).sum(axis=1).min() >= 0.9995


def test_rerank_logits_equal_the_cross_encoders(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "reranker"
    write_checkpoint("bge-reranker-base", "tiny", path, seed=3)
    _, run = opened("reranker", model=str(path))
    result: Any = run(RerankRequest(TEXTS[-1], TEXTS[:-1]))
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(path), device="cpu")
    expected = reference.predict([(TEXTS[-1], text) for text in TEXTS[:-1]], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(result.logits, expected, rtol=0.05, atol=0.05)


def test_replayed_batches_equal_eager_ones(opened: Open) -> None:
    """Of every size up to the largest graph, one after another and two in flight."""
    replaying, _ = opened("embedder", graph_tokens=16384)
    eager, _ = opened("embedder", graph_tokens=0)
    rng = np.random.default_rng(1)
    counts = [*rng.integers(1, 20, 40), *rng.integers(20, 130, 20), 700, 1000]  # the last ones in parts
    longest = [*rng.integers(2, 256, 60), 20, 8]
    batches = [
        batch_of(*rng.integers(1, most, count), seed=seed)
        for seed, (count, most) in enumerate(zip(counts, longest, strict=True))
    ]
    expected = [eager.launch(batch).result() for batch in batches]
    pending = [replaying.launch(batch) for batch in batches]
    for one, wanted in zip(pending, expected, strict=True):
        got = one.result()
        assert np.isfinite(got).all()
        cosine = (got * wanted).sum(axis=1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
        assert cosine.min() > 0.9995


def test_a_small_batch_is_replayed_without_a_wait_for_the_device(opened: Open) -> None:
    backend, _ = opened("embedder")
    batch = batch_of(9, 12, 30)
    backend.launch(batch).result()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = backend.launch(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(pending.result()).all()


def test_the_mixture_of_experts_computes_in_fp16_too(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "moe"
    write_checkpoint("nomic-embed-text-v2-moe", "tiny", path, seed=3)
    backend, _ = opened("embedder", model=str(path), dtype="fp16")
    rng = np.random.default_rng(0)
    ids = [rng.integers(10, 60, length).astype(np.int32) for length in (5, 60, 17)]
    got = backend.launch(TokenBatch.of(ids)).result()
    model = load_flat_model(path, "embedder")
    batch = TokenBatch.of(ids)
    arrays = (batch.ids, batch.token_types, batch.positions, batch.cu_seqlens)
    expected = model(*(torch.from_numpy(array) for array in arrays), batch.max_len)
    assert torch.cosine_similarity(torch.from_numpy(got), expected).min() > 0.999


def test_running_out_splits_and_the_budget_shrinks(opened: Open) -> None:
    backend, _ = opened("embedder")
    before = backend.token_budget
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (192 << 20)) / total)
    outputs = backend.launch(batch_of(*[256] * 2048)).result()
    assert len(outputs) == 2048
    assert np.isfinite(outputs).all()
    assert backend.oom_splits > 0
    assert backend.token_budget < before


def test_in_fp32_the_lane_is_exact_and_says_that_attention_is_padded(opened: Open, tmp_path: Path) -> None:
    """What a GPU before Ampere computes of a model that fp16 cannot hold."""
    backend, run = opened("embedder", dtype="fp32")
    assert backend.gpu is not None
    assert backend.gpu.dtype == "fp32"
    assert backend.gpu.attention_padded_because is not None
    path = prepare_model(AppConfig.model_validate({"serving": {"cache_dir": str(tmp_path)}}), "embedder").source.path
    model = load_flat_model(path, "embedder")
    batch = batch_of(9, 12, 200)
    arrays = (batch.ids, batch.token_types, batch.positions, batch.cu_seqlens)
    expected = model(*(torch.from_numpy(array) for array in arrays), batch.max_len)
    torch.testing.assert_close(torch.from_numpy(backend.launch(batch).result()), expected, rtol=0, atol=1e-3)
    assert np.isfinite(run(EmbedRequest(TEXTS)).vectors).all()  # type: ignore[union-attr]


def test_states_beyond_fp16_are_not_finite_there_and_the_lane_chooses_another_precision(tmp_path: Path) -> None:
    write_with_large_states(tmp_path)
    overflow = fp16_overflow(read_config(tmp_path))
    capability = torch.cuda.get_device_capability()
    batch = batch_of(40)
    batch = TokenBatch.of([batch.ids % 200])
    finite = {}
    for dtype in ("fp16", gpu_precision("fp16", capability, overflow).dtype):
        program = FlatProgram(tmp_path, "embedder", DTYPES[dtype], torch.device("cuda"))
        accelerator = CudaAccelerator(lambda _, made=program: made, graph_tokens=64)  # type: ignore[misc]
        accelerator.reload()
        finite[dtype] = bool(np.isfinite(accelerator.launch(batch).result()).all())
        accelerator.close()
    assert finite.pop("fp16") is False
    assert list(finite.values()) == [True]


def test_without_memory_for_graphs_small_batches_are_computed_all_the_same(opened: Open) -> None:
    """Running out while a graph is recorded ends the recording, whatever error that shows as."""
    backend, _ = opened("embedder", graph_tokens=16384)
    batch = batch_of(5, 30)
    expected = backend.launch(batch).result()
    backend.offload()
    cap_bytes = torch.cuda.memory_reserved() + backend.memory().weights_bytes + (96 << 20)
    torch.cuda.set_per_process_memory_fraction(cap_bytes / torch.cuda.get_device_properties(0).total_memory)
    assert backend.reload()
    assert backend.unusable is None
    np.testing.assert_allclose(backend.launch(batch).result(), expected, rtol=0, atol=0.02)


def test_offloading_gives_memory_back_and_returning_takes_it(opened: Open) -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    backend, _ = opened("embedder")
    batch = batch_of(5, 30)
    expected = backend.launch(batch).result()
    weights_bytes = backend.memory().weights_bytes
    assert torch.cuda.memory_allocated() - before >= weights_bytes
    backend.offload()
    assert torch.cuda.memory_allocated() - before < weights_bytes / 10
    with pytest.raises(GpuUnavailable):
        backend.launch(batch)
    assert backend.reload()
    np.testing.assert_allclose(backend.launch(batch).result(), expected, rtol=0, atol=1e-3)


def test_the_process_keeps_to_its_share_with_what_lies_outside_the_allocator(tmp_path: Path) -> None:
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    fraction = 4 * GIB / total_bytes
    config = AppConfig.model_validate(
        {"device": "cuda", "embedder": {"gpu_fraction": fraction}, "serving": {"cache_dir": str(tmp_path)}}
    )
    backend, _ = open_cuda_backend(config, prepare_model(config, "embedder"), own_gpu_bytes)
    try:
        if own_gpu_bytes() is None:
            pytest.skip("the driver does not list this process: a container without the host's PIDs")
        assert backend.reload()
        context_bytes = backend.measure_context()
        assert context_bytes is not None
        assert 100 * MIB < context_bytes < 2 * GIB
        cap_bytes = torch.cuda.get_per_process_memory_fraction() * total_bytes
        assert cap_bytes == pytest.approx(fraction * total_bytes - context_bytes, abs=MIB)
    finally:
        backend.close()
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_measured_budget_keeps_to_the_time(opened: Open) -> None:
    fast, _ = opened("embedder", forward_ms=30)
    slow, _ = opened("embedder", forward_ms=0.2)
    assert fast.token_budget == 16384
    assert 512 <= slow.token_budget < 16384


_SERVES = """
import sys, asyncio
from trivet.config import AppConfig
from trivet.engine.open import open_cuda_backend, open_engine, prepare_model
cache, reranker = sys.argv[1:]
config = AppConfig.model_validate(
    {"device": "cuda", "reranker": {"model": reranker}, "serving": {"cache_dir": cache}}
)
for task in ("embedder", "reranker"):
    prepared = prepare_model(config, task)
    backend, dtype = open_cuda_backend(config, prepared)
    assert backend.reload()
    open_engine(config, prepared, backend, dtype).warm_up()
print("transformers" in sys.modules)
"""


def test_a_serving_process_imports_no_transformers(tmp_path: Path) -> None:
    write_checkpoint("bge-reranker-base", "tiny", tmp_path / "reranker", seed=3)
    command = [sys.executable, "-c", _SERVES, str(tmp_path / "cache"), str(tmp_path / "reranker")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr[-2000:]


_POISONS = """
import numpy as np, sys
from trivet.config import AppConfig
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.open import open_cuda_backend, prepare_model
from trivet.errors import GpuUnavailable
config = AppConfig.model_validate({"device": "cuda", "serving": {"cache_dir": sys.argv[1]}})
backend, _ = open_cuda_backend(config, prepare_model(config, "embedder"))
assert backend.reload()
for _ in range(2):
    try:
        backend.launch(TokenBatch.of([np.array([1, 10_000_000], dtype=np.int32)])).result()
    except GpuUnavailable:
        print(backend.fault is not None)
"""


def test_a_poisoned_context_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _POISONS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr[-2000:]


def test_the_driver_lists_the_gpu_by_the_uuid_that_a_replica_reports() -> None:
    assert current_gpu_uuid() in [uuid for gpu in list_gpus() for uuid in gpu]


def test_nvml_sees_this_process_as_ours() -> None:
    held = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    registry = Registry()
    registry.report(
        ReplicaReport(model="embedder", pid=os.getpid(), gpu="", at_s=time.monotonic(), held_bytes=held.nbytes)
    )
    observation = NvmlProbe(registry, time.monotonic, timeout_s=10).read()
    assert observation.known, observation.unknown_reason
    assert observation.ours_bytes["embedder"] >= held.nbytes
