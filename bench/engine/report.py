"""Tables and a picture of the engine benchmark: `python -m bench.engine.report bench/results/engine.json`.

Rewrites the part of docs/benchmarks.md between its two markers, and the SVG beside it. Computes nothing but ratios.
"""

import argparse
import json
from pathlib import Path
from typing import Any

Cells = dict[str, dict[str, Any]]

OURS = ("trivet-bf16", "trivet-int8")
QUIET_CORES = 0.15
"""Wall-clock rates are compared only if other processes used at most this much of the machine. A server's client counts
among them."""
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
_HEAD = (
    "| contender | sequences/s | tokens/s | tokens per core-second | p50 / p99 ms | peak RSS | of bf16 peak "
    "| cores: own, others |\n|---|--:|--:|--:|--:|--:|--:|--:|"
)
_BAR, _GAP, _LABEL, _WIDTH = 18, 6, 200, 720
_COLOURS = {True: "#2563a8", False: "#a3a3a3"}


def grouped(cells: Cells) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Group cells: (shape, workload) → contender → figures, ours first, then the others by name."""
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for key, figures in sorted(cells.items(), key=lambda cell: (cell[0].split(" | ")[2] not in OURS, cell[0])):
        shape, workload, contender = key.split(" | ")
        groups.setdefault((shape, workload), {})[contender] = figures
    return groups


def best_peer(group: dict[str, dict[str, Any]], measure: str) -> str | None:
    """Return the peer with the largest `measure`; None if no peer was measured."""
    peers = [name for name, figures in group.items() if name not in OURS and measure in figures]
    return max(peers, key=lambda name: group[name][measure], default=None)


def table(group: dict[str, dict[str, Any]], core_peak_gflops: float) -> str:
    """Return a table with one row per contender; the reasons for missing ones follow below.

    The share of the peak is taken per core-second, so that it says the same on a busy machine.
    """
    rows = [_HEAD]
    remarks = []
    for name, figures in group.items():
        if "sequences_per_s" not in figures:
            remarks.append(f"- {name}: {next(iter(figures.values()))}")
            continue
        if "note" in figures:
            remarks.append(f"- {name}: {figures['note']}")
        timed = figures["p50_ms"] is not None
        latency = f"{figures['p50_ms']:,.0f} / {figures['p99_ms']:,.0f}" if timed else "–"
        rows.append(
            f"| {name} | {figures['sequences_per_s']:,.1f} | {figures['tokens_per_s']:,.0f} "
            f"| {figures['tokens_per_cpu_s']:,.0f} | {latency} | {figures['peak_rss_mib']:,} MiB "
            f"| {figures['useful_gflops'] / figures['own_cores'] / core_peak_gflops:.0%} "
            f"| {figures['own_cores']:.2f}, {figures['other_cores']:.2f} |"
        )
    return "\n".join([*rows, *(["", *remarks] if remarks else [])])


def ratios(group: dict[str, dict[str, Any]]) -> str:
    """Compare our speed with infinity's and the best peer's, by wall-clock time and by processor time."""
    lines = []
    for ours in OURS:
        if "tokens_per_s" not in group.get(ours, {}):
            continue
        compared = []
        for measure, words in (("tokens_per_s", "by the clock"), ("tokens_per_cpu_s", "per core-second")):
            rivals = {"infinity-fp32": "infinity-fp32", "the best peer": best_peer(group, measure)}
            for title, rival in rivals.items():
                if rival is None or measure not in group.get(rival, {}):
                    continue
                if measure == "tokens_per_s" and not (_undisturbed(group[ours]) and _undisturbed(group[rival])):
                    continue  # other load would decide a comparison by wall-clock time
                times = group[ours][measure] / group[rival][measure]
                named = title if title == rival else f"{title} ({rival})"
                compared.append(f"{times:.1f}× {named} {words}")
        lines.append(f"- **{ours}**: " + "; ".join(compared) + ".")
    return "\n".join(lines)


def _undisturbed(figures: dict[str, Any]) -> bool:
    return bool(figures["other_cores"] <= QUIET_CORES)


def markdown(results: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    peak = max(reading["bf16"] for reading in results["gemm_gflops"])
    machine = results["machine"]
    parts = [
        f"{machine['cores']} cores of {machine['processor']} (family/model {machine['family_model']}; "
        f"{', '.join(machine['flags'])}), {machine['memory_gib']} GiB; "
        + ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
        + f". {results['threads']} thread(s) for every contender. "
        f"Largest bf16 GEMM rate that was measured with as many: {peak:,.0f} GFLOP/s."
    ]
    for (shape, workload), group in grouped(results["cells"]).items():
        parts += [f"### {shape}, {workload}", table(group, peak / results["threads"]), ratios(group)]
    return "\n\n".join(part for part in parts if part)


def svg(results: dict[str, Any], workload: str = "mixed") -> str:
    """Draw bars of tokens per core-second, one group per shape, in proportion to the group's fastest."""
    elements = []
    y = 10
    for (shape, name), group in grouped(results["cells"]).items():
        measured = {who: figures for who, figures in group.items() if "tokens_per_cpu_s" in figures}
        if name != workload or not measured:
            continue
        elements.append(f'<text x="0" y="{y + 14}" font-weight="600">{shape}</text>')
        y += 24
        longest = max(figures["tokens_per_cpu_s"] for figures in measured.values())
        for who, figures in measured.items():
            width = round((_WIDTH - _LABEL - 90) * figures["tokens_per_cpu_s"] / longest)
            elements += [
                f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{who}</text>',
                f'<rect x="{_LABEL}" y="{y}" width="{width}" height="{_BAR}" fill="{_COLOURS[who in OURS]}"/>',
                f'<text x="{_LABEL + width + 6}" y="{y + 13}">{figures["tokens_per_cpu_s"]:,.0f}</text>',
            ]
            y += _BAR + _GAP
        y += 12
    style = "text{font:12px system-ui,sans-serif;fill:#444}@media(prefers-color-scheme:dark){text{fill:#ccc}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img">'
        f"<title>Useful tokens per core-second, {workload} lengths</title><style>{style}</style>"
        + "".join(elements)
        + "</svg>\n"
    )


def replace_between(text: str, new: str) -> str:
    """Replace the text between the markers by `new`.

    Raises:
        ValueError: a marker is missing.
    """
    head, found_begin, rest = text.partition(BEGIN)
    _, found_end, tail = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n\n{new}\n\n{END}{tail}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=Path("bench/results/engine.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/img/engine-bench.svg"))
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(replace_between(page, markdown(results)), encoding="utf-8")
    options.picture.write_text(svg(results), encoding="utf-8")


if __name__ == "__main__":
    main()
