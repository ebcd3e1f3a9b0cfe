"""Compares the starter models with models of the flagships' shapes: `python -m bench.engine.starters`.

All read the same texts on the CPU lane, with the default precision and batching, one model after another in separate
processes. The measure is sequences per second, since each tokenizer cuts a text into different tokens. The flagship
checkpoints have random weights (`tests.support.checkpoints`): they cost as much as trained ones, and their answers mean
nothing. An interrupted run goes on where it stopped.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.engine.compare import run_module
from bench.engine.in_process import Spec
from bench.engine.shapes import SHAPES
from bench.load.workloads import Call, calls
from bench.support.machine import describe_machine
from trivet.config import TASKS, Task
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.starter import prepare_starter

FLAGSHIPS: dict[Task, str] = {
    "embedder": "nomic-v2-moe",
    "reranker": "bge-reranker-base",
    "classifier": "ModernBERT-large",
}
CALLS = 200
CLIENTS = 8
LONGEST = 180
"""Longest text, in tokens of the starter's tokenizer. Others make up to 2.8 times as many; all models read 512."""
GOAL = 8.0
MEASURES = ("sequences_per_s", "sequences_per_cpu_s")


def recount(task: Task, listed: list[Call], tokenizer: TextTokenizer) -> list[Call]:
    """Return the same calls with their lengths by another model's tokenizer."""

    def tokens(text: str) -> int:
        return len(tokenizer.raw.encode(text, add_special_tokens=False).ids)

    special = tokenizer.special
    if task == "embedder":
        return [replace(call, lengths=tuple(tokens(t) + special.single_tokens for t in call.others)) for call in listed]
    return [
        replace(call, lengths=tuple(tokens(call.first) + tokens(t) + special.pair_tokens for t in call.others))
        for call in listed
    ]


def ratios(cells: Mapping[str, Mapping[Task, Mapping[str, float]]], measure: str) -> dict[str, float]:
    """Divide the starters' rates by the flagships', per task and overall.

    `cells` has "starter" and "flagship". Overall is the ratio of the times for one sequence of every task, so the
    slowest model weighs most, as it does for a caller who uses each task equally.
    """
    starter, flagship = cells["starter"], cells["flagship"]
    by_task: dict[str, float] = {task: starter[task][measure] / flagship[task][measure] for task in TASKS}
    spent = {name: sum(1 / cells[name][task][measure] for task in TASKS) for name in ("starter", "flagship")}
    return {
        name: round(value, 1) for name, value in {**by_task, "overall": spent["flagship"] / spent["starter"]}.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/results/starters.json"))
    parser.add_argument("--checkpoints", type=Path, default=Path(".cache/bench/checkpoints"))
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--threads", type=int, help="of every model; 1 where others use the machine too")
    parser.add_argument("--warm-up-s", type=float, default=3.0)
    parser.add_argument("--duration-s", type=float, default=10.0)
    options = parser.parse_args()
    work = options.cache.absolute() / "work"
    work.mkdir(parents=True, exist_ok=True)
    threads = options.threads or describe_machine()["cores"]
    result = _begin(options.out, threads)
    for task in TASKS:
        models = {
            "starter": prepare_starter(task, options.cache.absolute() / "models"),
            "flagship": SHAPES[FLAGSHIPS[task]].directory(options.checkpoints.absolute()),
        }
        missing = {name: model for name, model in models.items() if task not in result["cells"][name]}
        written = calls(task, models["starter"], "mixed", LONGEST, CALLS) if missing else []
        for name, model in missing.items():
            counted = recount(task, written, TextTokenizer.from_dir(model))
            file = work / f"starters-{task}-{name}.json"
            file.write_text(json.dumps([asdict(call) for call in counted]), encoding="utf-8")
            spec = Spec(
                library="trivet",
                precision="auto",
                task=task,
                model=str(model),
                cache=str(options.cache.absolute()),
                calls_file=str(file),
                threads=options.threads,
                clients=CLIENTS,
                batch_size=0,
                warm_up_s=options.warm_up_s,
                duration_s=options.duration_s,
            )
            spec.write(work / "spec.json")
            figures = run_module("bench.engine.in_process", str(work / "spec.json"), threads=options.threads)
            del figures["lengths"]
            figures["sequences_per_cpu_s"] = round(figures["sequences"] / figures["cpu_s"], 2)
            result["cells"][name][task] = figures
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            rates = f"{figures['sequences_per_s']} sequences/s, {figures['sequences_per_cpu_s']} per core-second"
            cores = f"cores: own {figures['own_cores']}, others {figures['other_cores']}"
            print(f"{task} {name}: {rates}; {cores}", flush=True)
    result["ratios"] = {measure: ratios(result["cells"], measure) for measure in MEASURES}
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for measure, values in result["ratios"].items():
        print(f"{measure}: " + ", ".join(f"{name} {value}×" for name, value in values.items()))
    overall = result["ratios"]["sequences_per_cpu_s"]["overall"]
    print(f"overall, per core-second: {overall}× (wanted: {GOAL:.0f}×)")


def _begin(out: Path, threads: int) -> dict[str, Any]:
    """Return the results of an interrupted run with as many threads; empty if there is none."""
    if out.is_file():
        earlier: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if earlier["threads"] == threads and "ratios" not in earlier:
            return earlier
    out.parent.mkdir(parents=True, exist_ok=True)
    return {
        "machine": describe_machine(),
        "threads": threads,
        "flagships": FLAGSHIPS,
        "cells": {"starter": {}, "flagship": {}},
    }


if __name__ == "__main__":
    main()
