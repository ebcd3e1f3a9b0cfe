"""Measures what the GPU's matrix products reach at encoder sizes: `python -m bench.engine.gpu.peak`. Prints JSON."""

import json
from collections.abc import Callable

import torch

SIZES = ((16384, 768, 3072), (16384, 1024, 5248), (8192, 8192, 8192))
"""(tokens, inputs, outputs) of a linear layer."""


def seconds(run: Callable[[], object], count: int = 20) -> float:
    """Return the seconds of one run, by the GPU's own clock."""
    for _ in range(3):
        run()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(count):
        run()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / count / 1e3


def main() -> None:
    rates = {}
    for tokens, inputs, outputs in SIZES:
        x = torch.randn(tokens, inputs, device="cuda", dtype=torch.bfloat16)
        weight = torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16)
        took_s = seconds(lambda x=x, weight=weight: torch.nn.functional.linear(x, weight))  # type: ignore[misc]
        rates[f"{tokens}x{inputs}x{outputs}"] = round(2e-12 * tokens * inputs * outputs / took_s, 1)
    print(
        json.dumps(
            {
                "what": "peak",
                "gpu": torch.cuda.get_device_name(0),
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "tflops": rates,
                "peak_tflops": max(rates.values()),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
