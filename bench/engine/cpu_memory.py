"""Measures the host memory of a CPU replica's model at each stage of its life, and what waking it costs.

    python -m bench.engine.cpu_memory --precision int8 --checkpoints DIR --out bench/results/cpu_memory.json

Checkpoints have the flagships' shapes and random weights. Every model is measured in a process of its own that imports
neither torch nor Ray, so what is measured is Python, OpenVINO and the model.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil

from trivet.config import CpuPrecision
from trivet.engine.batch.token_batch import TokenBatch

FLAGSHIPS = ("nomic-v2-moe", "bge-reranker-base", "ModernBERT-large")
_MIB = 1024**2
_USED_FORWARDS = 40


def main() -> None:
    """Convert each model, measure it in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="int8")
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--shape", action="append", help="repeatable; all flagships when not given")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ir", type=Path, help="measure this IR folder in this process, and print JSON")
    args = parser.parse_args()
    if args.ir is not None:
        sys.stdout.write(json.dumps(measured(args.ir, args.precision)))
        return
    from bench.engine.shapes import SHAPES
    from trivet.engine.openvino.ir_cache import ensure_ir

    rows: dict[str, Any] = {}
    for name in args.shape or FLAGSHIPS:
        shape = SHAPES[name]
        ir_dir = ensure_ir(
            shape.directory(args.checkpoints), shape.task, cast("CpuPrecision", args.precision), args.checkpoints / "ir"
        )
        command = [sys.executable, "-m", "bench.engine.cpu_memory", "--precision", args.precision]
        command += ["--checkpoints", str(args.checkpoints), "--ir", str(ir_dir)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows[f"{name} {args.precision}"] = json.loads(done.stdout)
        sys.stderr.write(f"{name}: {json.dumps(rows[f'{name} {args.precision}'], indent=1)}\n")
    if args.out is not None:
        earlier = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
        args.out.write_text(json.dumps(earlier | rows, indent=1) + "\n", encoding="utf-8")


def measured(ir_dir: Path, precision: str) -> dict[str, Any]:
    """Play the life of a replica's model: opened, used, resting, woken. Memory in MiB, times in seconds."""
    from trivet.engine.openvino.open import open_ir
    from trivet.engine.openvino.resting import RestingBackend
    from trivet.engine.text.memory import give_back

    files_mib = sum(file.stat().st_size for file in ir_dir.glob("*.bin")) / _MIB
    result: dict[str, Any] = {"ir_mib": round(files_mib), "imported": memory()}
    with timed(result, "open_s"):
        inner = open_ir(ir_dir, cast("Any", precision), threads=2, token_budget=1024)
    result["opened"] = memory()
    give_back()
    result["opened, trimmed"] = memory()
    del inner
    give_back()
    with timed(result, "reopen_s"):
        backend = RestingBackend(
            lambda: open_ir(ir_dir, cast("Any", precision), threads=2, token_budget=1024),
            model=ir_dir.name,
            clock=time.monotonic,
        )
    result["ready"] = memory()
    batches = list(_batches())
    for batch in batches:
        backend.launch(batch).result()
    result["used"] = memory()
    give_back()
    result["used, trimmed"] = memory()
    backend.release_scratch()
    result["idle for a minute"] = memory()
    with timed(result, "forward_after_idle_s"):
        backend.launch(batches[0]).result()
    backend.rest()
    result["resting"] = memory()
    with timed(result, "wake_s"):
        backend.launch(batches[0]).result()
    result["woken"] = memory()
    with timed(result, "awake_forward_s"):
        backend.launch(batches[0]).result()
    for _ in range(5):
        backend.rest()
        backend.wake()
    backend.rest()
    result["resting after 6 times"] = memory()
    return result


def memory() -> dict[str, int]:
    """Return this process's proportional and private set sizes."""
    now = psutil.Process().memory_full_info()
    return {"pss_mib": round(now.pss / _MIB), "private_mib": round(now.uss / _MIB)}


@contextmanager
def timed(result: dict[str, Any], name: str) -> Iterator[None]:
    """Note how long a block takes."""
    began_s = time.perf_counter()
    yield
    result[name] = round(time.perf_counter() - began_s, 2)


def _batches() -> Iterator[TokenBatch]:
    """Batches of up to 1,024 tokens, of sequences whose lengths are log-normal around 120 tokens."""
    random = np.random.default_rng(1)
    for _ in range(_USED_FORWARDS):
        lengths = np.clip(random.lognormal(np.log(120), 0.6, size=6), 8, 512).astype(int)
        while lengths.sum() > 1024:
            lengths = lengths[:-1]
        yield TokenBatch.of([random.integers(2, 30_000, size=n, dtype=np.int32) for n in lengths])


if __name__ == "__main__":
    main()
