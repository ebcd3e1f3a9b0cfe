"""The README states the same speeds as the table that it refers to."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTION = "### bge-reranker-base, mixed"
CONTENDERS = (
    "trivet-bf16",
    "trivet-int8",
    "sentence-transformers-bf16-batch8",
    "sentence-transformers-bf16",
    "infinity-bf16",
)
"""In the README's order."""


def measured(column: str) -> dict[str, str]:
    """Return a column of the section's table, by contender."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lines = page.split(SECTION, 1)[1].split("\n###", 1)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    at = rows[0].index(column)
    return {row[0]: row[at] for row in rows[2:]}


def test_speeds_per_core() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sentence = re.search(r"Useful tokens per second of one core's time.*?\.\n", readme, re.S)
    assert sentence
    table = measured("tokens per core-second")
    assert re.findall(r"\b\d{3}\b|\b\d,\d{3}\b", sentence[0]) == [table[name] for name in CONTENDERS]


def test_ratios() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    table = {name: float(value.replace(",", "")) for name, value in measured("tokens/s").items()}
    best_peer = max(value for name, value in table.items() if not name.startswith("trivet"))
    ours = table["trivet-bf16"]
    assert f"reads {ours / table['infinity-bf16']:.1f} times what infinity's torch engine does" in readme
    assert f"({ours / table['infinity-fp32']:.0f} times its fp32)" in readme
    assert f"and {ours / best_peer:.1f} times the best set-up of any peer" in readme
