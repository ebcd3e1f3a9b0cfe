"""Measures this engine on the GPU, one model per process: `python -m bench.engine.gpu.engine SHAPE FOLDER SECONDS`.

It prints one JSON object per line: the memory at each stage, then every cell. `FOLDER` holds the checkpoint and the
workloads that `bench.engine.gpu` has written.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.engine.gpu.workload import Sized, Workload
from bench.engine.shapes import SHAPES, read_cost
from deployments.vram.own_memory import own_gpu_bytes
from trivet.checkpoint.memory import facts_from_directory
from trivet.config import AppConfig
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.engine import Engine
from trivet.engine.open import open_cuda_backend, open_engine, prepare_model
from trivet.vram.planning.planner import Assumptions

GPU_FRACTION = 0.3
CELLS = (("mixed", 32, 64), ("mixed", 4, 256), ("mixed", 4, 8), ("mixed", 4, 1), ("short", 4, 1))
"""Workload, sequences of a request, callers."""


@dataclass(slots=True)
class Cell:
    """What a closed loop was answered."""

    latencies_s: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    tokens: int = 0


async def closed_loop(engine: Engine, requests: Sequence[Sized], clients: int, until_s: float) -> Cell:
    """Let each of `clients` send its next request after the answer to the last one."""
    cell, source = Cell(), itertools.cycle(requests)

    async def client() -> None:
        while time.perf_counter() < until_s:
            sized = next(source)
            sent_s = time.perf_counter()
            used = (await engine.run(sized.request)).usage.tokens
            cell.latencies_s.append(time.perf_counter() - sent_s)
            cell.tokens += used
            cell.lengths += sized.lengths

    await asyncio.gather(*(client() for _ in range(clients)))
    return cell


def percentiles(latencies_s: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile in milliseconds."""
    return {f"p{p}_ms": round(float(np.percentile(latencies_s, p)) * 1e3, 2) for p in (50, 99)}


class Memory:
    """Reads what this process takes, on the GPU by NVML and on the host."""

    def __init__(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._device = pynvml.nvmlDeviceGetHandleByIndex(0)
        self._before = self._used()

    def _used(self) -> int:
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._device).used)

    def now(self) -> dict[str, int]:
        """Return MiB: what the GPU holds more than before, torch's part of it, and this process on the host."""
        import torch

        process = psutil.Process().memory_full_info()
        reserved = torch.cuda.memory_reserved() if torch.cuda.is_initialized() else 0
        return {
            "gpu_mib": (self._used() - self._before) >> 20,
            "allocator_mib": reserved >> 20,
            "host_rss_mib": process.rss >> 20,
            "host_pss_mib": process.pss >> 20,
        }


def shapes_cost(backend: GpuLaneBackend, longest: int) -> dict[str, float]:
    """Compare 200 batches of distinct shapes with 200 of one shape, in seconds; too large for graphs."""
    chance = random.Random(0)
    longest = min(longest, 500)
    distinct = [_batch([chance.randint(1, longest) for _ in range(chance.randint(20, 40))]) for _ in range(200)]
    middle = sorted(distinct, key=lambda batch: batch.tokens)[100]

    def seconds(batches: Sequence[TokenBatch]) -> float:
        began_s = time.perf_counter()
        for batch in batches:
            backend.launch(batch).result()
        return time.perf_counter() - began_s

    first = seconds(distinct)
    return {"distinct_s": round(first, 3), "equal_s": round(seconds([middle] * 200), 3)}


FORWARDS_TOKENS = (512, 1_024, 2_048, 4_096, 8_192, 14_336)
FORWARDS = 50


def forward_rates(backend: GpuLaneBackend) -> list[dict[str, int]]:
    """Compute forwards one behind the other, without tokenising or callers: by graphs, then launch by launch.

    It ends with the graphs forgotten. What a cell reads less than this is what the host costs.
    """
    found = [{"tokens": tokens} for tokens in FORWARDS_TOKENS if tokens <= backend.token_budget]
    for how in ("replayed", "launched"):
        for rates in found:
            rates[how] = round(rates["tokens"] / _forward_s(backend, rates["tokens"]))
        backend._accelerator._graphs.forget()  # type: ignore[attr-defined]
    return found


def _forward_s(backend: GpuLaneBackend, tokens: int) -> float:
    chance, lengths = random.Random(0), list[int]()
    while sum(lengths) < tokens:
        lengths.append(min(chance.randint(20, 300), tokens - sum(lengths)))
    batch = _batch(lengths)
    pending = backend.launch(batch)
    pending.result()
    began_s, pending = time.perf_counter(), backend.launch(batch)
    for _ in range(FORWARDS):
        following = backend.launch(batch)
        pending.result()
        pending = following
    pending.result()
    return (time.perf_counter() - began_s) / (FORWARDS + 1)


def _batch(lengths: Sequence[int]) -> TokenBatch:
    rng = np.random.default_rng(sum(lengths))
    return TokenBatch.of([rng.integers(10, 1000, length).astype(np.int32) for length in lengths])


def _mib(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else size_bytes >> 20


def planned_mib(directory: Path, dtype: Any, token_budget: int) -> int:
    """Return what `trivet plan` gives the allocator of this model: weights, workspace and one full budget."""
    facts = facts_from_directory(directory)
    activations = facts.activation_bytes_per_token(dtype) * token_budget
    return (facts.weights_bytes(dtype) + Assumptions().workspace_bytes + activations) >> 20


async def measure(name: str, folder: Path, duration_s: float) -> None:
    """Open the lane as a replica does, and run every cell."""
    shape = SHAPES[name]
    directory, cost = shape.directory(folder), read_cost(shape.directory(folder))
    memory = Memory()
    config = AppConfig.model_validate(
        {
            "device": "cuda",
            shape.task: {"model": str(directory), "gpu_fraction": GPU_FRACTION},
            "serving": {"cache_dir": str(folder / "cache")},
        }
    )
    began_s = time.perf_counter()
    prepared = prepare_model(config, shape.task)
    backend, dtype = open_cuda_backend(config, prepared, own_gpu_bytes)
    _print(name, "memory", stage="opened, without weights", **memory.now())
    assert backend.reload()
    engine = open_engine(config, prepared, backend, dtype)
    engine.start()
    engine.warm_up()
    _print(
        name,
        "memory",
        stage="ready",
        open_s=round(time.perf_counter() - began_s, 2),
        weights_mib=backend.memory().weights_bytes >> 20,
        token_budget=backend.token_budget,
        planned_allocator_mib=planned_mib(directory, dtype, backend.token_budget),
        measured_context_mib=_mib(backend.measure_context()),
        **memory.now(),
        transformers_imported="transformers" in sys.modules,
    )
    _print(name, "shapes", **shapes_cost(backend, shape.max_tokens))
    workloads = {kind: Workload.read(folder / f"{name}-{kind}.json") for kind in ("mixed", "short")}
    requests = {(kind, size): workload.requests(size) for kind, workload in workloads.items() for size in (4, 32)}
    for kind, size, clients in CELLS:
        await closed_loop(engine, requests[kind, size][::-1], clients, time.perf_counter() + min(1.0, duration_s))
        began_s, cpu_s = time.perf_counter(), time.process_time()
        cell = await closed_loop(engine, requests[kind, size], clients, began_s + duration_s)
        took_s = time.perf_counter() - began_s
        _print(
            name,
            "cell",
            contender="trivet",
            workload=kind,
            sequences=size,
            clients=clients,
            tokens_per_s=round(cell.tokens / took_s),
            tflops=round(cost.flops(cell.lengths) / took_s / 1e12, 1),
            calls_per_s=round(len(cell.latencies_s) / took_s, 1),
            own_cores=round((time.process_time() - cpu_s) / took_s, 2),
            **percentiles(cell.latencies_s),
        )
    until_s = time.perf_counter() + duration_s
    short, _ = await asyncio.gather(
        closed_loop(engine, requests["short", 4], 1, until_s), closed_loop(engine, requests["mixed", 4], 64, until_s)
    )
    _print(name, "cell", contender="trivet", workload="short beside 64 mixed", **percentiles(short.latencies_s))
    _print(name, "memory", stage="after load", oom_splits=backend.oom_splits, **memory.now())
    for rates in forward_rates(backend):
        _print(name, "forwards", **rates)
    await engine.close()


def _print(shape: str, what: str, **figures: Any) -> None:
    print(json.dumps({"shape": shape, "what": what, **figures}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    asyncio.run(measure(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
