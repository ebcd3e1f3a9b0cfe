"""Measures single calls: `python -m bench.engine.latency CASE …` prints JSON. Each process measures one case.

- `pair`: one rerank pair of 32 tokens, through the engine or through sentence-transformers.
- `long`: one classification of 8,192 tokens, and the memory that it adds to the process.
- `behind`: short classifications, one after another without a pause, while texts of 8,192 tokens stream through the
  same engine. Before that, both run alone for comparison.
- `start`: time from the start of this process until three engines have answered. Conversions are done before.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.engine.in_process import engine_request
from bench.engine.shapes import SHAPES, Shape
from bench.load.workloads import Call, Writer
from bench.support.machine import Usage, describe_machine, peak_rss_mib
from trivet.config import AppConfig, Task
from trivet.engine.engine import Engine
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.messages import EngineRequest

ROUNDS = 60
LONG_TOKENS = 8192
LONG_ROUNDS = 3


def pair_of(model: Path, tokens: int) -> Call:
    """Return a pair of about `tokens` tokens."""
    tokenizer = TextTokenizer.from_dir(model)
    writer = Writer(tokenizer, seed=1)
    query = writer.text(8)
    used = len(tokenizer.encode([query])[0]) + tokenizer.special.pair_tokens
    return Call(query, (writer.text(tokens - used),), (tokens,))


def open_engine(task: Task, model: Path, precision: str, cache: Path) -> Engine:
    """Open the CPU lane of one model."""
    from trivet.engine.open import open_cpu_engine

    settings = {
        task: {"model": str(model)},
        "cpu": {"precision": precision},
        "serving": {"cache_dir": str(cache)},
    }
    return open_cpu_engine(AppConfig.model_validate(settings), task)


def timed(run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Time `rounds` calls in milliseconds, after three that are not counted."""
    took_ms = []
    before = Usage.of(os.getpid())
    started_s = time.perf_counter()
    for index in range(rounds + 3):
        call_s = time.perf_counter()
        run()
        if index >= 3:
            took_ms.append((time.perf_counter() - call_s) * 1000)
    usage = Usage.of(os.getpid()).since(before, time.perf_counter() - started_s)
    return {
        "min_ms": round(min(took_ms), 2),
        "p50_ms": round(float(np.percentile(took_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(took_ms, 99)), 2),
        **usage,
    }


def pair(model: Path, precision: str, library: str, cache: Path) -> dict[str, Any]:
    """Time one pair repeatedly."""
    call = pair_of(model, 32)
    if library == "trivet":
        engine = open_engine("reranker", model, precision, cache)
        request = engine_request("reranker", call)
        with asyncio.Runner() as runner:
            runner.run(_start(engine))
            figures = timed(lambda: runner.run(engine.run(request)), ROUNDS)
            runner.run(engine.close())
        return figures
    import torch
    from sentence_transformers import CrossEncoder

    options = {} if precision == "fp32" else {"model_kwargs": {"dtype": torch.bfloat16}}
    scorer = CrossEncoder(str(model), device="cpu", **options)
    return timed(lambda: scorer.predict(call.pairs), ROUNDS)


def long_call(model: Path, seed: int) -> Call:
    """Return a pair of `LONG_TOKENS`."""
    hypothesis = "The first text depends on the second."
    tokenizer = TextTokenizer.from_dir(model)
    fixed = len(tokenizer.encode([hypothesis])[0]) + tokenizer.special.pair_tokens
    return Call(Writer(tokenizer, seed).text(LONG_TOKENS - fixed), (hypothesis,), (LONG_TOKENS,))


def long(model: Path, precision: str, library: str, cache: Path) -> dict[str, Any]:
    """Time one text of the model's full length; measure memory before it and at its peak."""
    call = long_call(model, seed=2)
    short = pair_of(model, 32)
    if library == "trivet":
        engine = open_engine("classifier", model, precision, cache)
        with asyncio.Runner() as runner:
            runner.run(_start(engine))

            def run(work: Call) -> object:
                return runner.run(engine.run(engine_request("classifier", work)))

            figures = _long_figures(run, short, call)
            runner.run(engine.close())
        return figures
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    reference = AutoModelForSequenceClassification.from_pretrained(model, dtype=dtype).eval()
    words = AutoTokenizer.from_pretrained(model)

    def forward(work: Call) -> object:
        with torch.inference_mode():
            return reference(**words([work.pairs[0]], return_tensors="pt")).logits

    return _long_figures(forward, short, call)


def _long_figures(run: Callable[[Call], object], short: Call, call: Call) -> dict[str, Any]:
    run(short)
    before_mib = psutil.Process().memory_info().rss // 1024**2
    Path("/proc/self/clear_refs").write_text("5")  # a peak of loading is not one of this call
    usage = Usage.of(os.getpid())
    started_s = time.perf_counter()
    run(call)
    took_s = time.perf_counter() - started_s
    return {
        "took_s": round(took_s, 2),
        "rss_before_mib": before_mib,
        "peak_added_mib": max(0, peak_rss_mib(os.getpid()) - before_mib),
        **Usage.of(os.getpid()).since(usage, took_s),
    }


def behind(model: Path, precision: str, cache: Path) -> dict[str, Any]:
    """Time short work beside long work in one engine."""
    engine = open_engine("classifier", model, precision, cache)
    short = engine_request("classifier", pair_of(model, 32))
    longs = [engine_request("classifier", long_call(model, seed)) for seed in range(LONG_ROUNDS)]

    async def one_after_another(requests: Iterable[EngineRequest], until: asyncio.Event | None = None) -> list[float]:
        took_s = []
        for request in requests:
            if until is not None and until.is_set():
                break
            began_s = time.perf_counter()
            await engine.run(request)
            took_s.append(time.perf_counter() - began_s)
        return took_s

    async def measured() -> dict[str, Any]:
        engine.start()
        await one_after_another([short] * 3)
        idle_s = await one_after_another([short] * ROUNDS)
        alone_s = await one_after_another(longs)
        done = asyncio.Event()
        beside = asyncio.create_task(one_after_another(repeat(short), until=done))
        together_s = await one_after_another(longs)
        done.set()
        beside_s = await beside
        await engine.close()
        idle_p50_s, p99_s = float(np.percentile(idle_s, 50)), float(np.percentile(beside_s, 99))
        return {
            "short_idle_p50_ms": round(1000 * idle_p50_s, 1),
            "short_beside_p50_ms": round(1000 * float(np.percentile(beside_s, 50)), 1),
            "short_beside_p99_ms": round(1000 * p99_s, 1),
            "short_answered": len(beside_s),
            "p99_by_idle_p50": round(p99_s / idle_p50_s, 1),
            "long_alone_s": [round(took_s, 2) for took_s in alone_s],
            "long_together_s": [round(took_s, 2) for took_s in together_s],
            "long_rate_lost": round(1 - sum(alone_s) / sum(together_s), 3),
        }

    with asyncio.Runner() as runner:
        return runner.run(measured())


def start(checkpoints: Path, precision: str, cache: Path) -> dict[str, Any]:
    """Open all three flagship shapes, one after another, each with a first forward."""
    began_s = psutil.Process().create_time()
    ready_s = {}
    engines = []
    for shape in _flagships():
        engine = open_engine(shape.task, shape.directory(checkpoints), precision, cache)
        engine.warm_up()
        engines.append(engine)
        ready_s[shape.name] = round(time.time() - began_s, 2)
    memory = psutil.Process().memory_full_info()
    return {"ready_after_s": ready_s, "rss_mib": memory.rss // 1024**2, "pss_mib": memory.pss // 1024**2}


def _flagships() -> list[Shape]:
    return [shape for shape in SHAPES.values() if shape.kind is not None]


async def _start(engine: Engine) -> None:
    engine.start()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=("pair", "long", "behind", "start"))
    parser.add_argument("--library", choices=("trivet", "peer"), default="trivet")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="bf16")
    parser.add_argument("--checkpoints", type=Path, default=Path(".cache/bench/checkpoints"))
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--out", type=Path, help="keep the figures in this file too: bench/results/latency.json")
    options = parser.parse_args()
    if options.case == "start":
        figures = start(options.checkpoints, options.precision, options.cache)
    elif options.case == "behind":
        model = SHAPES["ModernBERT-large"].directory(options.checkpoints)
        figures = behind(model, options.precision, options.cache)
    else:
        measure = {"pair": pair, "long": long}[options.case]
        shape = {"pair": "bge-reranker-base", "long": "ModernBERT-large"}[options.case]
        model = SHAPES[shape].directory(options.checkpoints)
        figures = measure(model, options.precision, options.library, options.cache)
    case = {"case": options.case, "library": options.library, "precision": options.precision}
    print(json.dumps(case | figures))
    if options.out is not None:
        keep(options.out, case, figures)


def keep(file: Path, case: dict[str, Any], figures: dict[str, Any]) -> None:
    """Write one case's figures into a result file, replacing earlier ones of the same case."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"cases": []}
    others = [one for one in kept["cases"] if any(one[name] != value for name, value in case.items())]
    content = {"machine": describe_machine(), "cases": [*others, case | figures]}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
