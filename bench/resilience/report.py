"""Writes the tables of docs/resilience.md and docs/memory.md from the committed results.

    python -m bench.resilience.report

Each table is between `<!-- name -->` and `<!-- /name -->`; the text around it is not changed.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench/results"
DOCS = ROOT / "docs"

CASES = {
    "cpu": "starter models, CPU",
    "simulated": "starter models, simulated GPU with an external process",
    "full": "full-size models, int8, CPU",
    "lean": "the same, lean",
    "naive": "naive server, starter models",
    "cpu-soak": "soak: 30 min at half load, starter models",
}


def chaos_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Render one row per fault."""
    lines = [
        "| done under 16 clients | sent | answered | refused (Retry-After) | failed | longest gap | slowest answer |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault, row in rows.items():
        lines.append(
            f"| {fault} | {row['sent']} | {row['answered']} | {row['refused_with_retry_after']} | {row['failed']} | "
            f"{row['longest_gap_s']:.1f} s | {row['slowest_s']:.1f} s |"
        )
    return "\n".join(lines)


def stress_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """Render one row per case."""
    lines = [
        "| | requests | answered | refused (429, 503) | timed out (408) | must not happen | short, idle p50 "
        "| short p50 / p99 | longest | PSS at the peak | growth |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, result in _known(cases):
        count = result["statuses"].get
        short = result["latency"]["short"]
        growth = (
            f"{result['pss_slope_mib_per_1000_requests']:.2f} MB per 1,000 requests"
            if case.endswith("soak")
            else f"{result['pss_growth']:+.1%}"
        )
        lines.append(
            f"| {CASES[case]} | {result['requests']:,} | {count('200', 0):,} | {count('429', 0) + count('503', 0):,} | "
            f"{count('408', 0):,} | {result['complaints']} | {_seconds(result['idle_short'], 'p50_ms')} | "
            f"{_seconds(short, 'p50_ms')} / {_seconds(short, 'p99_ms')} | {result['longest_s']:.0f} s | "
            f"{result['pss_peak_mib']:,} MiB | {growth} |"
        )
    return "\n".join(lines)


def memory_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """Render PSS in MiB at the peak, with one row per role and one column per case."""
    shown = [(case, result) for case, result in _known(cases) if case in ("cpu", "full", "lean")]
    roles: dict[str, int] = {}
    for _, result in shown:
        for role, entry in result["pss_at_peak_mib"].items():
            roles[role] = max(roles.get(role, 0), entry["pss_mib"])
    lines = ["| process | " + " | ".join(CASES[case] for case, _ in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for role in sorted(roles, key=lambda role: -roles[role]):
        cells = [_cell(result["pss_at_peak_mib"].get(role)) for _, result in shown]
        lines.append(f"| {role} | " + " | ".join(cells) + " |")
    lines.append("| **all** | " + " | ".join(f"**{result['pss_peak_mib']:,}**" for _, result in shown) + " |")
    return "\n".join(lines)


def _known(cases: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(case, cases[case]) for case in CASES if case in cases]


def _seconds(latency: Mapping[str, float], key: str) -> str:
    return f"{latency[key] / 1000:.2f} s" if key in latency else "–"


def _cell(entry: Mapping[str, int] | None) -> str:
    if entry is None:
        return "–"
    return f"{entry['pss_mib']}" + (f" ({entry['processes']})" if entry["processes"] > 1 else "")


TABLES: tuple[tuple[str, str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("resilience.md", "chaos", "chaos.json", chaos_table),
    ("resilience.md", "stress", "stress.json", stress_table),
    ("memory.md", "memory", "stress.json", memory_table),
)


def filled(page: str, name: str, table: str) -> str:
    """Return the page with the table between its marks.

    Raises:
        ValueError: the page has no such marks.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"no <!-- {name} --> … <!-- /{name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page)


def main() -> None:
    for page, name, results, table in TABLES:
        file = DOCS / page
        data = json.loads((RESULTS / results).read_text(encoding="utf-8"))
        file.write_text(filled(file.read_text(encoding="utf-8"), name, table(data)), encoding="utf-8")


if __name__ == "__main__":
    main()
