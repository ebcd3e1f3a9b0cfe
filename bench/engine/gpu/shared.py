"""One process with all models on the GPU beside three with one each: `python -m bench.engine.gpu.shared FOLDER S`.

It prints, for both arrangements, the memory of the GPU and of the host, and what callers of all three models get at the
same time. Decision 13 (docs/decisions) waits for these figures.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine.gpu.engine import Cell, Memory, closed_loop, percentiles
from bench.engine.gpu.workload import Workload
from bench.engine.shapes import SHAPES
from trivet.config import AppConfig
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.engine import Engine
from trivet.engine.open import open_cuda_backend, open_engine, prepare_model

MODELS = ("bge-reranker-base", "ModernBERT-large", "nomic-v2-moe")
CLIENTS = 16
"""Of each model; each sends requests of four mixed sequences."""
GPU_FRACTION = 0.9
"""No bound: the models of one process share its allocator, and three of its caps would contradict each other."""


def open_model(name: str, folder: Path) -> tuple[Engine, GpuLaneBackend]:
    """Open one model's GPU lane in this process, as a replica does."""
    shape = SHAPES[name]
    config = AppConfig.model_validate(
        {
            "device": "cuda",
            shape.task: {"model": str(shape.directory(folder)), "gpu_fraction": GPU_FRACTION},
            "serving": {"cache_dir": str(folder / "cache")},
        }
    )
    prepared = prepare_model(config, shape.task)
    backend, dtype = open_cuda_backend(config, prepared)
    assert backend.reload()
    engine = open_engine(config, prepared, backend, dtype)
    engine.warm_up()
    return engine, backend


async def load(names: Sequence[str], folder: Path, seconds: float) -> None:
    """Open models, say so, wait for a line on stdin, and let callers of all of them send for so long."""
    memory = Memory()
    backends = {name: open_model(name, folder) for name in names}
    engines = {name: engine for name, (engine, _) in backends.items()}
    requests = {name: Workload.read(folder / f"{name}-mixed.json").requests(4) for name in names}
    for engine in engines.values():
        engine.start()

    async def together(until_s: float) -> list[Cell]:
        loops = (closed_loop(engines[name], requests[name], CLIENTS, until_s) for name in names)
        return list(await asyncio.gather(*loops))

    await together(time.perf_counter() + 1.0)
    _print(**memory.now(), token_budgets={name: backend.token_budget for name, (_, backend) in backends.items()})
    await asyncio.to_thread(sys.stdin.readline)
    began_s = time.perf_counter()
    cells = await together(began_s + seconds)
    took_s = time.perf_counter() - began_s
    _print(
        tokens_per_s={name: round(cell.tokens / took_s) for name, cell in zip(names, cells, strict=True)},
        latencies={name: percentiles(cell.latencies_s) for name, cell in zip(names, cells, strict=True)},
    )
    for engine in engines.values():
        await engine.close()


def arrangement(groups: Sequence[Sequence[str]], folder: str, seconds: str) -> dict[str, Any]:
    """Run one process for each group of models, all at the same time, and add up what they print."""
    memory = Memory()
    command = [sys.executable, "-m", "bench.engine.gpu.shared", folder, seconds]
    children = [
        subprocess.Popen([*command, *group], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for group in groups
    ]
    ready = [_next(child) for child in children]
    gpu_mib = memory.now()["gpu_mib"]  # of all of them: the driver counts the whole GPU
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.close()
    loads = [_next(child) for child in children]
    for child in children:
        child.wait()
    return {
        "processes": len(groups),
        "gpu_mib": gpu_mib,
        "host_pss_mib": sum(one["host_pss_mib"] for one in ready),
        "token_budgets": {name: budget for one in ready for name, budget in one["token_budgets"].items()},
        "tokens_per_s": {name: rate for one in loads for name, rate in one["tokens_per_s"].items()},
        "latencies": {name: figures for one in loads for name, figures in one["latencies"].items()},
    }


def _next(child: "subprocess.Popen[str]") -> dict[str, Any]:
    assert child.stdout is not None
    line = next((line for line in child.stdout if line.startswith("{")), None)  # libraries print progress, too
    if line is None:
        raise RuntimeError(f"a process of the benchmark ended early, with status {child.wait()}")
    found: dict[str, Any] = json.loads(line)
    return found


def _print(**figures: Any) -> None:
    print(json.dumps({"what": "shared", **figures}), flush=True)


def main() -> None:
    folder, seconds, *names = sys.argv[1:]
    if names:
        asyncio.run(load(names, Path(folder), float(seconds)))
        return
    for groups in ([[name] for name in MODELS], [list(MODELS)]):
        _print(**arrangement(groups, folder, seconds))


if __name__ == "__main__":
    main()
