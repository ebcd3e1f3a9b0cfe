"""Plots stress and soak tests, memory and latency over time: `python -m bench.resilience.stress_plot`."""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "trivet"  # so that the same figures give the same file

from matplotlib import pyplot as plt  # noqa: E402 - the backend must be chosen first

TITLES = {
    "cpu": "CPU",
    "simulated": "simulated GPU",
    "full": "full-size models, int8",
    "lean": "full-size models, int8, lean",
    "naive": "naive server",
    "cpu-soak": "CPU, soak at half load",
}


def draw(cases: dict[str, Any], out: Path) -> None:
    """Draw one column per case, with PSS at the top and p50 and p99 of short requests at the bottom."""
    figure, rows = plt.subplots(2, len(cases), figsize=(4 * len(cases), 5), squeeze=False, layout="constrained")
    for column, (name, result) in enumerate(cases.items()):
        memory, speed = rows[0][column], rows[1][column]
        memory.plot([s["at_s"] / 60 for s in result["memory"]], [s["pss_mib"] for s in result["memory"]])
        memory.set_title(TITLES.get(name, name))
        memory.set_ylim(bottom=0)
        timed = [row for row in result["timeline"] if "short_p50_ms" in row]
        for percent in ("p50", "p99"):
            speed.plot(
                [row["at_s"] / 60 for row in timed], [row[f"short_{percent}_ms"] / 1000 for row in timed], label=percent
            )
        speed.set_ylim(bottom=0)
        speed.set_xlabel("minutes")
    rows[0][0].set_ylabel("PSS of all processes, MiB")
    rows[1][0].set_ylabel("short requests, s")
    rows[1][0].legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("bench/results/stress.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/img/stress.svg"))
    options = parser.parse_args()
    draw(json.loads(options.results.read_text(encoding="utf-8")), options.out)


if __name__ == "__main__":
    main()
