"""Measures the matrix-multiplication peak of this machine: `python -m bench.engine.gemm` prints GFLOP/s as JSON.

A forward would reach this rate if it consisted of its largest products alone. It is the best of many repetitions over
the shapes of encoders, on all cores, with operands in cache. Torch packs the weights in every call; OpenVINO packs them
once, and its time includes handing over the result. The larger of the two rates counts.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13

SHAPES = ((512, 768, 3072), (512, 1024, 5248), (1024, 1024, 1024), (2048, 2048, 2048))
"""(tokens, inputs, outputs)."""
SECONDS_PER_SHAPE = 0.5


def best_gflops(make: Callable[[int, int, int], Callable[[], Any]]) -> float:
    """Return the best rate over all shapes and repetitions of the product that `make(rows, inner, columns)` returns."""
    best = 0.0
    for rows, inner, columns in SHAPES:
        multiply = make(rows, inner, columns)
        multiply()
        until_s = time.perf_counter() + SECONDS_PER_SHAPE
        while (started_s := time.perf_counter()) < until_s:
            multiply()
            best = max(best, 2e-9 * rows * inner * columns / (time.perf_counter() - started_s))
    return round(best, 1)


def in_torch(dtype: torch.dtype) -> Callable[[int, int, int], Callable[[], Any]]:
    """Return a maker of linear layers in torch."""

    def make(rows: int, inner: int, columns: int) -> Callable[[], Any]:
        linear = torch.nn.Linear(inner, columns, bias=False, dtype=dtype).requires_grad_(False)
        x = torch.randn(rows, inner, dtype=dtype)
        return lambda: linear(x)

    return make


def in_openvino(hint: str, threads: int | None) -> Callable[[int, int, int], Callable[[], Any]]:
    """Return a maker of products with a constant in OpenVINO."""

    def make(rows: int, inner: int, columns: int) -> Callable[[], Any]:
        x = opset13.parameter([rows, inner], np.float32)
        weights = np.random.default_rng(0).standard_normal((columns, inner), dtype=np.float32)
        product = opset13.matmul(x, opset13.constant(weights), transpose_a=False, transpose_b=True)
        model = openvino.Model([product], [x])
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(np.ones((rows, inner), dtype=np.float32)))
        run: Callable[[], Any] = request.infer
        return run

    return make


def measure(threads: int | None) -> dict[str, float]:
    """Measure GFLOP/s per dtype and library; `fp32` and `bf16` hold the larger of the two."""
    if threads is not None:
        torch.set_num_threads(threads)
    rates = {
        "torch_fp32": best_gflops(in_torch(torch.float32)),
        "torch_bf16": best_gflops(in_torch(torch.bfloat16)),
        "openvino_fp32": best_gflops(in_openvino("f32", threads)),
        "openvino_bf16": best_gflops(in_openvino("bf16", threads)),
    }
    return {dtype: max(rates[f"torch_{dtype}"], rates[f"openvino_{dtype}"]) for dtype in ("fp32", "bf16")} | rates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, help="every core when not given")
    print(json.dumps(measure(parser.parse_args().threads)))


if __name__ == "__main__":
    main()
