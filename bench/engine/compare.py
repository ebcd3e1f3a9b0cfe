"""Compares the engine with its peers: `python -m bench.engine.compare --out bench/results/engine.json`.

A cell is one contender at one shape with one workload, in a separate process. Cells that the result file already holds
are not measured again (delete them to do so), so an interrupted run goes on where it stopped. This process only writes
the workload, starts contenders and keeps the figures.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.engine.in_process import Library, Spec, cell
from bench.engine.shapes import SHAPES, Shape, read_cost
from bench.load.workloads import WORKLOADS, Call, WorkloadName, calls
from bench.support.machine import describe_machine
from bench.support.servers import Server, ServerKind, measure_server, this_python, thread_settings
from trivet.engine.openvino.ir_cache import ensure_ir

CALLS = 400
CELL_LIMIT_S = 420.0
NOT_LOADED = "cannot load this checkpoint: its code is remote, and transformers 5 takes it for another architecture"


@dataclass(frozen=True, slots=True)
class Contender:
    """A system that is measured. Exactly one of `library` and `server` is set."""

    name: str
    precision: str
    library: Library | None = None
    server: ServerKind | None = None
    batch_size: int = 32
    """Of a library; sentence-transformers' default is 32."""


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("trivet-bf16", "bf16", library="trivet"),
        Contender("trivet-int8", "int8", library="trivet"),
        Contender("sentence-transformers-fp32", "fp32", library="sentence-transformers"),
        Contender("sentence-transformers-bf16", "bf16", library="sentence-transformers"),
        # On a CPU smaller batches of sorted texts cost nothing and hold less padding.
        Contender("sentence-transformers-bf16-batch8", "bf16", library="sentence-transformers", batch_size=8),
        Contender("infinity-fp32", "float32", server="infinity"),
        Contender("infinity-bf16", "bfloat16", server="infinity"),
        Contender("naive-fp32", "fp32", server="naive"),
    )
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Paths, and the duration of a cell."""

    checkpoints: Path
    cache: Path
    infinity_python: Path
    lock: Path | None
    threads: int | None
    warm_up_s: float
    duration_s: float

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold the lock that other measurements on this machine use too, if one is configured."""
        if self.lock is None:
            yield
            return
        with self.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def measure(self, contender: Contender, shape: Shape, workload: WorkloadName) -> dict[str, Any]:
        """Measure one cell; if the contender cannot run it, return the reason instead."""
        model = shape.directory(self.checkpoints)
        nomic = shape.kind == "nomic-embed-text-v2-moe"
        if contender.server == "infinity" and nomic:
            return {"unavailable": "needs code from the model's hub repository, which is not run here"}
        if contender.server == "infinity" and not self.infinity_python.is_file():
            return {"unavailable": "infinity-emb is not installed (bench/peers/setup.sh)"}
        work_file = self._work(shape, workload, model)
        if contender.library is not None:
            library = contender.library
            if library == "sentence-transformers" and nomic:
                library = "torch-module"
            spec = Spec(
                library=library,
                precision=contender.precision,
                task=shape.task,
                model=str(model),
                cache=str(self.cache),
                calls_file=str(work_file),
                threads=self.threads,
                clients=shape.clients,
                batch_size=contender.batch_size,
                warm_up_s=self.warm_up_s,
                duration_s=self.duration_s,
            )
            result = self._in_process(spec, contender, shape)
        else:
            result = self._over_http(contender, shape, model, work_file)
        flops = read_cost(model).flops(result.pop("lengths"))
        result["useful_gflops"] = round(flops / result["took_s"] / 1e9, 1)
        return result

    def _work(self, shape: Shape, workload: WorkloadName, model: Path) -> Path:
        file = self.cache / "work" / f"{shape.name}-{workload}.json"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            made = calls(shape.task, model, workload, shape.max_tokens, CALLS)
            file.write_text(json.dumps([asdict(call) for call in made]), encoding="utf-8")
        return file

    def _in_process(self, spec: Spec, contender: Contender, shape: Shape) -> dict[str, Any]:
        if spec.library == "trivet":  # conversion is no part of any figure
            ensure_ir(Path(spec.model), shape.task, contender.precision, self.cache)  # type: ignore[arg-type]
        file = self.cache / "work" / "spec.json"
        spec.write(file)
        with self.quiet():
            result: dict[str, Any] = run_module("bench.engine.in_process", str(file), threads=spec.threads)
        if spec.library == "torch-module":
            result["note"] = "Trivet's torch module with that library's batching; the library itself " + NOT_LOADED
        return result

    def _over_http(self, contender: Contender, shape: Shape, model: Path, work_file: Path) -> dict[str, Any]:
        assert contender.server is not None
        python = self.infinity_python if contender.server == "infinity" else this_python()
        server = Server(contender.server, shape.task, model, contender.precision, python, self.threads)
        listed = json.loads(work_file.read_text(encoding="utf-8"))
        work = [Call(entry["first"], tuple(entry["others"]), tuple(entry["lengths"])) for entry in listed]
        with self.quiet():
            measured, usage = measure_server(
                server,
                work,
                clients=shape.clients,
                warm_up_s=self.warm_up_s,
                duration_s=self.duration_s,
                log=self.cache / "work" / f"{contender.name}.log",
            )
        return cell(measured, usage) | {"lengths": measured.lengths}


def run_module(module: str, *arguments: str, threads: int | None = None) -> Any:
    """Run a module of the benchmark and return the JSON of its last line of output.

    Raises:
        RuntimeError: it failed; the message has the end of what it wrote to stderr.
    """
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    quiet |= thread_settings(threads)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=CELL_LIMIT_S, env=quiet
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


class Results:
    """The result file, which is rewritten after every cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.content: dict[str, Any] = {"machine": describe_machine(), "gemm_gflops": [], "cells": {}}
        if path.is_file():
            self.content |= json.loads(path.read_text(encoding="utf-8"))

    def has(self, key: str) -> bool:
        """Whether the cell has been measured, or can never be."""
        return "failed" not in self.content["cells"].get(key, {"failed": "not yet"})

    def save(self, key: str, result: dict[str, Any]) -> None:
        """Store one cell, in memory and on disk."""
        self.content["cells"][key] = result
        self.write()

    def write(self) -> None:
        """Write the file, replacing it atomically."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        partial.replace(self._path)


def measure_all(bench: Bench, results: Results, cells: list[tuple[Shape, WorkloadName, Contender]]) -> int:
    """Measure the missing cells in order; returns how many failed."""
    failures = 0
    for shape, workload, contender in cells:
        key = f"{shape.name} | {workload} | {contender.name}"
        if results.has(key):
            continue
        print(key, end=": ", flush=True)
        try:
            result = bench.measure(contender, shape, workload)
        except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
            failures += 1
        results.save(key, result)
        print(_line(result), flush=True)
    return failures


def _line(result: dict[str, Any]) -> str:
    if "tokens_per_s" not in result:
        return str(next(iter(result.values())))
    return (
        f"{result['sequences_per_s']} sequences/s, {result['tokens_per_s']} tokens/s, "
        f"{result['useful_gflops']} GFLOP/s; own cores {result['own_cores']}, others {result['other_cores']}"
    )


def measure_gemm(bench: Bench, results: Results) -> None:
    """Measure the GEMM peak once more; the largest reading counts."""
    with bench.quiet():
        arguments = [] if bench.threads is None else ["--threads", str(bench.threads)]
        rates: dict[str, float] = run_module("bench.engine.gemm", *arguments)
    results.content["gemm_gflops"].append(rates)
    results.write()
    print(f"GEMM peak, GFLOP/s: {rates}", flush=True)


def chosen(names: str, known: dict[str, Any]) -> list[Any]:
    """Look up comma-separated names; argparse shows the error."""
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def _among(known: dict[str, Any]) -> Callable[[str], list[Any]]:
    return lambda names: chosen(names, known)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shapes", type=_among(SHAPES), default=list(SHAPES.values()))
    parser.add_argument("--contenders", type=_among(CONTENDERS), default=list(CONTENDERS.values()))
    parser.add_argument("--workloads", type=_among({name: name for name in WORKLOADS}), default=list(WORKLOADS))
    parser.add_argument("--out", type=Path, default=Path("bench/results/engine.json"))
    parser.add_argument("--checkpoints", type=Path, default=Path(".cache/bench/checkpoints"))
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--infinity-python", type=Path, default=Path(".cache/peers/infinity/bin/python"))
    parser.add_argument("--lock", type=Path, help="hold this file's lock while measuring")
    parser.add_argument("--threads", type=int, help="of every contender; 1 where others use the machine too")
    parser.add_argument("--warm-up-s", type=float, default=5.0)
    parser.add_argument("--duration-s", type=float, default=15.0)
    options = parser.parse_args()
    bench = Bench(
        options.checkpoints.absolute(),
        options.cache.absolute(),
        options.infinity_python.absolute(),
        options.lock,
        options.threads,
        options.warm_up_s,
        options.duration_s,
    )
    # An interrupted run must take its server down with it: let `finally` clauses run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(options.out)
    results.content["threads"] = options.threads or results.content["machine"]["cores"]
    failures = 0
    for workload in options.workloads:
        for shape in options.shapes:
            cells = [(shape, workload, contender) for contender in options.contenders]
            if not all(
                results.has(f"{shape.name} | {workload} | {contender.name}") for contender in options.contenders
            ):
                measure_gemm(bench, results)
            failures += measure_all(bench, results, cells)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
