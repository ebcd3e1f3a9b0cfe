"""The speeds in README are those of the tables in docs/benchmarks.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHAPES = ("MiniLM-L6", "ModernBERT-large", "bge-reranker-base", "nomic-v2-moe")
CONTENDERS = (
    "trivet-bf16",
    "trivet-int8",
    "sentence-transformers-bf16-batch8",
    "sentence-transformers-bf16",
    "infinity-bf16",
)
"""In the README's order."""


def measured(column: str, shape: str = "bge-reranker-base") -> dict[str, str]:
    """A column of the table of one shape, mixed lengths, by contender."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    section = re.split(r"\n###|\n<!--", page.split(f"### {shape}, mixed", 1)[1], maxsplit=1)[0]
    lines = section.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    at = rows[0].index(column)
    return {row[0]: row[at] for row in rows[2:]}


def readme() -> str:
    """README with every run of white space as one space."""
    return " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def best_peer(table: dict[str, float]) -> float:
    return max(value for name, value in table.items() if not name.startswith("trivet"))


def speeds(shape: str = "bge-reranker-base") -> dict[str, float]:
    """Tokens per second, by contender."""
    return {name: float(value.replace(",", "")) for name, value in measured("tokens/s", shape).items()}


def test_speeds_per_core() -> None:
    sentence = re.search(r"Tokens per core-second \(padding excluded\).*?\. ", readme())
    assert sentence
    table = measured("tokens per core-second")
    assert re.findall(r"\b\d{3}\b|\b\d,\d{3}\b", sentence[0]) == [table[name] for name in CONTENDERS]


def test_ratios() -> None:
    table = speeds()
    ours = table["trivet-bf16"]
    assert f"{ours / table['infinity-bf16']:.1f}× the throughput of infinity's torch engine" in readme()
    assert f"{ours / table['infinity-fp32']:.0f}× that of the same engine in fp32" in readme()
    assert f"{ours / best_peer(table):.1f}× that of the best peer" in readme()


def test_the_range_over_the_best_peer() -> None:
    ratios = [table["trivet-bf16"] / best_peer(table) for table in map(speeds, SHAPES)]
    assert f"Trivet is only {min(ratios):.1f} to {max(ratios):.1f}× as fast" in readme()
