"""The file format between mining and training: one query with its good document and its negatives per line."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

from training.batches import TextPair


def write_mined(path: Path, rows: Iterable[tuple[str, str, list[str]]]) -> int:
    """Write `(query, good, negatives)` rows; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for query, good, negatives in rows:
            file.write(json.dumps({"query": query, "good": good, "negatives": negatives}) + "\n")
            count += 1
    return count


def read_mined(path: Path) -> list[list[TextPair]]:
    """Each row as its pairs, the good one first."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        [TextPair(row["query"], row["good"], 1.0), *(TextPair(row["query"], text, 0.0) for text in row["negatives"])]
        for row in rows
    ]
