"""What the GPU benchmark says of the host: forwards alone, and a device that only waits."""

import argparse
from functools import partial
from typing import Any

import pytest
import torch

from bench.engine.gpu import engine, host
from bench.engine.gpu.report import tables
from trivet.config import AppConfig
from trivet.engine.cuda.runner import CudaAccelerator
from trivet.engine.open import gpu_program, open_gpu_lane, prepare_model


def test_forwards_alone_are_timed_with_graphs_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FORWARDS_TOKENS", (96, 1 << 20))  # the second one is above the budget
    monkeypatch.setattr(engine, "FORWARDS", 1)
    config = AppConfig.model_validate({"gpu": {"token_budget": 512}})
    prepared = prepare_model(config, "reranker")
    program = partial(gpu_program, prepared, torch.float32)
    backend = open_gpu_lane(config, prepared, CudaAccelerator(program, graph_tokens=0, device="cpu"), forward_s=None)
    assert backend.reload()
    [rates] = engine.forward_rates(backend)
    assert rates["tokens"] == 96
    assert rates["replayed"] > 0
    assert rates["launched"] > 0


def test_the_report_shows_them() -> None:
    peak = {"what": "peak", "gpu": "A", "torch": "2", "peak_tflops": 1.0}
    forwards = {"what": "forwards", "shape": "bge", "tokens": 4096, "replayed": 2_070_000, "launched": 1_500_000}
    assert "| bge | 4,096 | 2,070,000 | 1,500,000 |" in tables([peak, forwards])
    assert "forwards alone" not in tables([peak])


def test_the_report_compares_one_process_with_three() -> None:
    peak = {"what": "peak", "gpu": "A", "torch": "2", "peak_tflops": 1.0}
    shared = {
        "what": "shared",
        "processes": 1,
        "gpu_mib": 3000,
        "host_pss_mib": 2000,
        "tokens_per_s": {"bge": 1_000_000},
        "latencies": {"bge": {"p50_ms": 5.0, "p99_ms": 9.0}},
    }
    assert "| 1 | 3,000 | 2,000 | bge | 1,000,000 | 5.0 / 9.0 |" in tables([peak, shared])


async def measured(*, beside_short: bool) -> dict[str, Any]:
    device = {"tokens_per_s": 1e5, "in_flight": 2, "token_budget": 2048, "tokenize": False}
    load = {"sequences": 8, "clients": 16, "seconds": 1.0, "beside_short": beside_short}
    return await host.measure(argparse.Namespace(**device, **load))


async def test_a_device_that_only_waits_is_measured() -> None:
    figures = await measured(beside_short=False)
    assert figures["device_busy"] > 0
    assert figures["tokens_per_s"] > 0
    assert "short" not in figures


async def test_short_calls_beside_others_wait_for_the_forwards_in_flight() -> None:
    """Each of them has 2,048 tokens, which the device computes in 20 ms."""
    figures = await measured(beside_short=True)
    assert figures["short"]["p50_ms"] > 40
