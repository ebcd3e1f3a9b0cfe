"""Runs the three full-size shapes on one CUDA GPU, under an 8 GB budget: `python -m bench.engine.gpu`.

It needs a machine with a GPU. As in service, each model has its own process under its planned cap. This process acts as
another program and takes and returns memory in steps. The results state the estimated beside the measured memory. The
run passes if no error and no out-of-memory reaches a caller. A sequence that does not fit raises `GpuUnavailable`: in
service a CPU replica computes it, and here it is counted.
"""

import argparse
import json
import multiprocessing
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.support.checkpoints import write_checkpoint
from trivet.config import Task
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.cuda.runner import DTYPES, CudaAccelerator, resolve_dtype
from trivet.engine.models.load import load_torch_model
from trivet.errors import GpuUnavailable
from trivet.vram.planning.facts import facts_from_directory

GIB = 1024**3
SHAPES: dict[Task, str] = {
    "embedder": "nomic-embed-text-v2-moe",
    "reranker": "bge-reranker-base",
    "classifier": "ModernBERT-large-zeroshot-v2.0",
}
SHARE = 0.3
LONGEST_TOKENS: dict[Task, int] = {"embedder": 512, "reranker": 512, "classifier": 8192}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of one model."""

    task: Task
    forwards: int
    useful_tokens_per_s: float
    oom_splits: int
    handed_to_cpu: int
    errors: list[str]
    estimated_bytes_per_token: int
    measured_bytes_per_token: float
    weights_bytes: int
    peak_reserved_bytes: int


def stress(task: Task, path: Path, budget_bytes: int, duration_s: float) -> Outcome:
    """Run batches of mixed lengths until the time is over."""
    total = torch.cuda.get_device_properties(0).total_memory
    dtype = resolve_dtype("auto")
    accelerator = CudaAccelerator(
        lambda wanted: load_torch_model(path, task, wanted), DTYPES[dtype], cap_fraction=SHARE * budget_bytes / total
    )
    backend = GpuLaneBackend(accelerator, model=task, token_budget=16384, clock=time.monotonic)
    if not backend.reload():
        raise SystemExit(f"{task}: its weights do not fit the budget")
    rng = random.Random(0)
    forwards = tokens = handed = 0
    measured = 0.0
    errors: list[str] = []
    until_s = time.monotonic() + duration_s
    while time.monotonic() < until_s:
        length = min(LONGEST_TOKENS[task], max(5, round(rng.lognormvariate(4.8, 1.2))))
        count = max(1, backend.token_budget // length)
        ids = [[rng.randrange(10, 1000) for _ in range(length)] for _ in range(min(count, 64))]
        batch = TokenBatch.of([np.asarray(one, dtype=np.int32) for one in ids])
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        try:
            backend.launch(batch).result()
        except GpuUnavailable:
            handed += 1
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs in the report
            errors.append(f"{type(error).__name__}: {error}")
            continue
        forwards += 1
        tokens += batch.tokens
        measured = max(measured, (torch.cuda.max_memory_allocated() - before) / backend.layout.cost(batch.lengths))
    return Outcome(
        task=task,
        forwards=forwards,
        useful_tokens_per_s=tokens / duration_s,
        oom_splits=backend.oom_splits,
        handed_to_cpu=handed,
        errors=errors[:5],
        estimated_bytes_per_token=facts_from_directory(path).activation_bytes_per_token(dtype),
        measured_bytes_per_token=measured,
        weights_bytes=backend.memory().weights_bytes,
        peak_reserved_bytes=torch.cuda.max_memory_reserved(),
    )


def other(duration_s: float, budget_bytes: int) -> None:
    """Hold growing and shrinking parts of the memory that is not assigned to the models."""
    held: list[torch.Tensor] = []
    spare = int(budget_bytes * (1 - 3 * SHARE))
    for step in range(6):
        held.clear()
        torch.cuda.empty_cache()
        held.append(torch.empty(spare * (step % 3 + 1) // 3, dtype=torch.uint8, device="cuda"))
        time.sleep(duration_s / 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--budget-gib", type=float, default=8.0)
    parser.add_argument("--checkpoints", type=Path, default=Path(".cache/checkpoints"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu.json"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device")
    duration_s, budget_bytes = options.minutes * 60, int(options.budget_gib * GIB)
    paths = {}
    for task, name in SHAPES.items():
        paths[task] = options.checkpoints / name
        if not (paths[task] / "model.safetensors").exists():
            write_checkpoint(name, "full", paths[task], seed=1)
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(SHAPES)) as pool:
        running = [pool.apply_async(stress, (task, path, budget_bytes, duration_s)) for task, path in paths.items()]
        other(duration_s, budget_bytes)
        outcomes = [one.get(timeout=duration_s + 600) for one in running]
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(0),
        "budget_gib": options.budget_gib,
        "minutes": options.minutes,
        "models": [asdict(outcome) for outcome in outcomes],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    raise SystemExit(1 if any(outcome.errors for outcome in outcomes) else 0)


if __name__ == "__main__":
    main()
