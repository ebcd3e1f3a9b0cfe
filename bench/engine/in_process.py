"""Runs one contender that is a library: `python -m bench.engine.in_process SPEC.json`.

It prints the measured cell as one JSON object. The engine gets concurrent calls, as a replica sends them. A library
without a queue gets all calls in flight as one list, which is the best that a caller can do for it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from bench.load.closed_loop import Measured, run_blocks, run_closed_loop
from bench.load.workloads import Call
from bench.support.machine import Usage, peak_rss_mib
from trivet.config import AppConfig, Task
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, RerankRequest

Library = Literal["trivet", "sentence-transformers", "torch-module"]
Run = Callable[[list[Call]], None]


@dataclass(frozen=True, slots=True)
class Spec:
    """One cell to measure. `calls_file` holds a JSON list of calls."""

    library: Library
    precision: str
    task: Task
    model: str
    cache: str
    calls_file: str
    threads: int | None
    """Threads of a forward; None: every core."""
    clients: int
    batch_size: int
    """Sequences in a library's batch; the engine forms its batches itself."""
    warm_up_s: float
    duration_s: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write the spec as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def calls(self) -> list[Call]:
        """Read the workload."""
        listed = json.loads(Path(self.calls_file).read_text(encoding="utf-8"))
        return [Call(entry["first"], tuple(entry["others"]), tuple(entry["lengths"])) for entry in listed]


def engine_request(task: Task, call: Call) -> EngineRequest:
    """Return a call as the engine's request."""
    if task == "embedder":
        return EmbedRequest(call.others)
    if task == "reranker":
        return RerankRequest(call.first, call.others)
    return ClassifyRequest((PairText(call.first),), {hypothesis: hypothesis for hypothesis in call.others})


async def measure_engine(spec: Spec, calls: Sequence[Call]) -> tuple[Measured, dict[str, float]]:
    """Measure this engine in process."""
    from trivet.engine.open import open_cpu_engine

    config = AppConfig.model_validate(
        {
            spec.task: {"model": spec.model},
            "cpu": {"precision": spec.precision, "threads": spec.threads},
            "serving": {"cache_dir": spec.cache},
        }
    )
    opened_s = time.perf_counter()
    engine = open_cpu_engine(config, spec.task)
    engine.start()
    ready_s = time.perf_counter() - opened_s
    used = 0

    async def send(call: Call) -> None:
        nonlocal used
        tokens = (await engine.run(engine_request(spec.task, call))).usage.tokens
        used += tokens  # not in the same expression: `used` must be read after the await

    try:
        await run_closed_loop(send, calls[::-1], clients=spec.clients, duration_s=spec.warm_up_s)
        used = 0
        before = Usage.of(os.getpid())
        measured = await run_closed_loop(send, calls, clients=spec.clients, duration_s=spec.duration_s)
        usage = Usage.of(os.getpid()).since(before, measured.took_s)
    finally:
        await engine.close()
    if used != sum(measured.lengths):
        raise RuntimeError(f"the engine read {used} tokens where the workload has {sum(measured.lengths)}")
    return measured, usage | {"open_s": round(ready_s, 2)}


def sentence_transformers(spec: Spec) -> Run:
    """Return a runner with the library's own batching: sorted by length, `batch_size` sequences at a time."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    options = {} if spec.precision == "fp32" else {"model_kwargs": {"dtype": torch.bfloat16}}
    if spec.task == "embedder":
        embedder = SentenceTransformer(spec.model, device="cpu", **options)
        return lambda block: _discard(
            embedder.encode([text for call in block for text in call.others], batch_size=spec.batch_size)
        )
    scorer = CrossEncoder(spec.model, device="cpu", **options)
    # The classifier's pairs too: predict sorts them by length, the zero-shot pipeline does not.
    return lambda block: _discard(
        scorer.predict([pair for call in block for pair in call.pairs], batch_size=spec.batch_size)
    )


def torch_module(spec: Spec) -> Run:
    """Return a runner of Trivet's torch module, with the same batching, for models that the library cannot load."""
    import torch
    from transformers import AutoTokenizer

    from trivet.engine.models.load import load_torch_model

    dtype = torch.float32 if spec.precision == "fp32" else torch.bfloat16
    model = load_torch_model(Path(spec.model), spec.task, dtype)
    tokenizer = AutoTokenizer.from_pretrained(spec.model)

    def run(block: list[Call]) -> None:
        texts = sorted((text for call in block for text in call.others), key=len, reverse=True)
        with torch.inference_mode():
            for start in range(0, len(texts), spec.batch_size):
                taken = texts[start : start + spec.batch_size]
                batch = tokenizer(taken, padding=True, truncation=True, return_tensors="pt")
                model(batch["input_ids"], batch["attention_mask"])

    return run


def _discard(_result: object) -> None:
    """Ignore a library's answer."""


def measure_library(spec: Spec, calls: Sequence[Call]) -> tuple[Measured, dict[str, float]]:
    """Measure a library, which answers one call at a time."""
    run = sentence_transformers(spec) if spec.library == "sentence-transformers" else torch_module(spec)
    run_blocks(run, calls[::-1], block=2, duration_s=spec.warm_up_s)
    before = Usage.of(os.getpid())
    measured = run_blocks(run, calls, block=spec.clients, duration_s=spec.duration_s)
    return measured, Usage.of(os.getpid()).since(before, measured.took_s)


def cell(measured: Measured, usage: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one cell."""
    tokens = sum(measured.lengths)
    return {
        "sequences": len(measured.lengths),
        "tokens": tokens,
        "took_s": round(measured.took_s, 2),
        "sequences_per_s": round(len(measured.lengths) / measured.took_s, 2),
        "tokens_per_s": round(tokens / measured.took_s, 1),
        "tokens_per_cpu_s": round(tokens / usage["cpu_s"], 1),
        "p50_ms": measured.percentile_ms(50),
        "p99_ms": measured.percentile_ms(99),
        **usage,
    }


def main() -> None:
    spec = Spec.read(Path(sys.argv[1]))
    if spec.library not in get_args(Library):
        raise SystemExit(f"unknown library {spec.library}")
    calls = spec.calls()
    if spec.library == "trivet":
        measured, usage = asyncio.run(measure_engine(spec, calls))
    else:
        measured, usage = measure_library(spec, calls)
    result = cell(measured, usage | {"peak_rss_mib": peak_rss_mib(os.getpid())})
    print(json.dumps(result | {"lengths": measured.lengths}))


if __name__ == "__main__":
    main()
