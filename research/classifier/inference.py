"""Two annotated inference sets, with the rows that are held back: breaking-nli and MED.

Rows are held back by their first sentence: in both sets one sentence has many partners, and a split by row would show
it on both sides.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from research.relations.pairs import stable_fraction
from research.relations.prose_pairs import NliRow

BREAKING = "breaking-nli.jsonl.gz"
BREAKING_HELD_BACK = 400
MED = "med.jsonl.gz"
MED_HELD_BACK = 300


class Split(NamedTuple):
    """Rows to train on, and rows to measure on; no first sentence is in both."""

    training: list[NliRow]
    held_back: list[NliRow]


def breaking_nli(folder: Path) -> Split:
    """Captions with one word replaced; each category has its share of the rows held back."""
    return _split(_rows(folder / BREAKING, "category"), BREAKING_HELD_BACK)


def med(folder: Path) -> Split:
    """Monotonicity: entailment or neutral. Genres count as one category, as most are tiny."""
    return _split([(row, "") for row, _ in _rows(folder / MED, "genre")], MED_HELD_BACK)


def _rows(path: Path, category: str) -> list[tuple[NliRow, str]]:
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    return [
        (NliRow("", row["sentence1"].strip(), row["sentence2"].strip(), row["gold_label"]), row[category])
        for row in rows
    ]


def _split(rows: list[tuple[NliRow, str]], held_back: int) -> Split:
    quota = {category: round(held_back * count / len(rows)) for category, count in Counter(c for _, c in rows).items()}
    held: list[NliRow] = []
    premises: set[str] = set()
    for row, category in sorted(rows, key=lambda r: (stable_fraction("held back " + r[0].premise), r[0].hypothesis)):
        if quota[category] > 0:
            quota[category] -= 1
            held.append(row)
            premises.add(row.premise)
    return Split([row for row, _ in rows if row.premise not in premises], held)
