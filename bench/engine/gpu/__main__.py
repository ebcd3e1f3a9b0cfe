"""Runs the benchmark of the GPU lane: `python -m bench.engine.gpu --out FILE`; see `make bench-gpu`.

Each phase is a process and prints JSON lines, which are appended to the file as they come. A phase that fails leaves
a line too, and the next one begins. `report` turns the file into the tables of docs/benchmarks.md.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TextIO

from bench.engine.gpu.workload import Workload
from bench.engine.shapes import SHAPES

MODELS = ("bge-reranker-base", "ModernBERT-large", "nomic-v2-moe")
CALLS = {"mixed": 2048, "short": 128}
PHASES = ("peak", "engine", "peers", "service", "shared")


def prepare(name: str, folder: Path) -> None:
    """Write one shape's checkpoint and workloads, unless they are there."""
    directory = SHAPES[name].directory(folder)
    for kind, count in CALLS.items():
        file = folder / f"{name}-{kind}.json"
        if not file.is_file():
            Workload.write_to(file, SHAPES[name], directory, kind, count)  # type: ignore[arg-type]


def commands(phases: list[str], folder: Path, seconds: float, shapes: list[str]) -> list[list[str]]:
    """Return the module and arguments of every process, in order."""
    listed: list[list[str]] = []
    for phase in phases:
        if phase == "peak":
            listed.append(["peak"])
        elif phase in ("shared", "service"):
            listed.append([phase, str(folder), str(seconds)])
        else:
            listed += [[phase, name, str(folder), str(seconds)] for name in shapes]
    return listed


def run(command: list[str], out: TextIO, limit_s: float) -> None:
    """Run one process, append and show its lines, and end it at the limit."""
    began_s = time.monotonic()
    module = f"bench.engine.gpu.{command[0]}"
    child = subprocess.Popen([sys.executable, "-m", module, *command[1:]], stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(limit_s, child.kill)
    timer.start()
    assert child.stdout is not None
    for line in child.stdout:
        _append(out, line)
    status = child.wait()
    timer.cancel()
    took_s = round(time.monotonic() - began_s, 1)
    _append(out, json.dumps({"what": "phase", "phase": " ".join(command[:2]), "took_s": took_s, "status": status}))


def _append(out: TextIO, line: str) -> None:
    if line.startswith("{"):  # libraries print progress, too
        out.write(line.rstrip("\n") + "\n")
        out.flush()
    print(line.rstrip("\n"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path(".cache/gpu"), help="checkpoints and workloads")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each cell")
    parser.add_argument("--phases", nargs="*", default=list(PHASES), choices=PHASES)
    parser.add_argument("--shapes", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds of one process")
    parser.add_argument("--prepare", action="store_true", help="write checkpoints and workloads only")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(len(options.shapes)) as pool:
        list(pool.map(prepare, options.shapes, [options.folder] * len(options.shapes)))
    if options.prepare:
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as out:
        for command in commands(options.phases, options.folder, options.seconds, options.shapes):
            run(command, out, options.limit)


if __name__ == "__main__":
    main()
