"""Writes the tables of docs/benchmarks.md from what a card printed: `python -m bench.engine.gpu.report`."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "bench/results/gpu.jsonl"
PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"

Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """Read the lines that are JSON; a program on the way may have printed others."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


def tables(rows: list[Row]) -> str:
    """Render everything as Markdown."""
    peak = next(row for row in rows if row["what"] == "peak")
    parts = [
        f"One {peak['gpu']}, torch {peak['torch']}; "
        f"its matrix products reach {peak['peak_tflops']:.0f} TFLOP/s in bf16.",
        _cells(rows, peak["peak_tflops"]),
        *_forwards(rows),
        _http(rows),
        _memory(rows),
        *_shared(rows),
        *_service_memory(rows),
        *(_squeeze(row) for row in rows if row["what"] == "squeeze"),
    ]
    return "\n\n".join(parts)


def _cells(rows: list[Row], peak_tflops: float) -> str:
    lines = [
        "| model | contender | workload | sequences of a call | callers | tokens/s | of peak | p50 / p99 ms |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if row["what"] != "cell":
            continue
        rate = f"{row['tokens_per_s']:,} | {row['tflops'] / peak_tflops:.0%}" if "tokens_per_s" in row else "– | –"
        latency = f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}" if "p50_ms" in row else "–"
        lines.append(
            f"| {row['shape']} | {row['contender']} | {row['workload']} | {row.get('sequences', '–')} "
            f"| {row.get('clients', '–')} | {rate} | {latency} |"
        )
    return "\n".join(lines)


def _forwards(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row["what"] == "forwards"]
    if not found:
        return []
    lines = [
        "| model, forwards alone | tokens of one | tokens/s by graphs | launch by launch |",
        "|---|--:|--:|--:|",
        *(f"| {row['shape']} | {row['tokens']:,} | {row['replayed']:,} | {row['launched']:,} |" for row in found),
    ]
    return ["\n".join(lines)]


def _http(rows: list[Row]) -> str:
    lines = ["| model, over HTTP | load | tokens/s | calls/s | p50 / p99 ms |", "|---|---|--:|--:|--:|"]
    for row in rows:
        if row["what"] == "http":
            rate = f"{row['tokens_per_s']:,} | {row['calls_per_s']:.0f}" if "tokens_per_s" in row else "– | –"
            lines.append(f"| {row['shape']} | {row['load']} | {rate} | {row['p50_ms']:.1f} / {row['p99_ms']:.1f} |")
    return "\n".join(lines)


def _memory(rows: list[Row]) -> str:
    lines = [
        "| model | stage | GPU MiB | of it the allocator | planned | host PSS MiB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['shape']} | {row['stage']} | {row['gpu_mib']:,} | {row['allocator_mib']:,} "
        f"| {row.get('planned_allocator_mib', '–')} | {row['host_pss_mib']:,} |"
        for row in rows
        if row["what"] == "memory"
    ]
    return "\n".join(lines)


def _shared(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row["what"] == "shared"]
    if not found:
        return []
    lines = [
        "| GPU processes of the three models | GPU MiB | host PSS MiB | model | tokens/s, all at once | p50 / p99 ms |",
        "|--:|--:|--:|---|--:|--:|",
    ]
    for row in found:
        for name, rate in row["tokens_per_s"].items():
            took = row["latencies"][name]
            lines.append(
                f"| {row['processes']} | {row['gpu_mib']:,} | {row['host_pss_mib']:,} | {name} | {rate:,} "
                f"| {took['p50_ms']:.1f} / {took['p99_ms']:.1f} |"
            )
    return ["\n".join(lines)]


def _service_memory(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row["what"] == "service memory"]
    if not found:
        return []
    roles = sorted({role for row in found for role in row["host"]}, key=lambda role: -_pss_mib(found[0], role))
    lines = [
        f"| the whole service, host PSS MiB (processes) | {' | '.join(row['stage'] for row in found)} |",
        f"|---|{'--:|' * len(found)}",
        *(f"| {role} | {' | '.join(_of_role(row, role) for row in found)} |" for role in roles),
        "| **all** | " + " | ".join(f"**{row['host_pss_mib']:,}**" for row in found) + " |",
        "| GPU MiB of each process | " + " | ".join(_sum(row["gpu_mib"]) for row in found) + " |",
    ]
    return ["\n".join(lines)]


def _sum(sizes_mib: list[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes_mib)


def _pss_mib(row: Row, role: str) -> int:
    return int(row["host"].get(role, {"pss_mib": 0})["pss_mib"])


def _of_role(row: Row, role: str) -> str:
    count = row["host"].get(role, {"processes": 0})["processes"]
    return "–" if not count else f"{_pss_mib(row, role):,}" if count == 1 else f"{_pss_mib(row, role):,} ({count})"


def _squeeze(row: Row) -> str:
    lines = ["| squeeze, from second | answers | by the GPU alone | p50 / p99 ms |", "|---|--:|--:|--:|"]
    for step in row["steps"]:
        by_gpu = step["devices"].get("cuda:0", 0)
        lines.append(
            f"| {step['from_s']} | {step['answers']} | {by_gpu} | {step['p50_ms']:.0f} / {step['p99_ms']:.0f} |"
        )
    total = f"{row['answers']:,} answers, {row['failed']} failed, {row['refused']} refused"
    return "\n".join([*lines, "", f"{total}; the longest time without an answer was {row['longest_gap_s']} s."])


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(read(RESULTS))}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
