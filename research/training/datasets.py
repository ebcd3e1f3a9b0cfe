"""Readers of the public data sets, one function each, from a folder of the files as published (gzip).

Expected names: `qnli-train.tsv.gz`, `qnli-dev.tsv.gz`, `boolq-dev.jsonl.gz`, `snli-part-a.jsonl.gz`,
`trecqa-dev.csv.gz`, `cosqa-retrieval-dev.json.gz`, `cosqa-code-idx.txt.gz`. Where they come from, their licences and
which of them may be trained on is in `research/README.md`.
"""

import csv
import gzip
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.training.batches import TextPair


@dataclass(frozen=True, slots=True)
class Ranking:
    """A query with its candidates. `relevant` holds the indices of the good ones."""

    query: str
    candidates: tuple[str, ...]
    relevant: frozenset[int]


def read_qnli(path: Path) -> list[TextPair]:
    """Question / sentence rows; target 1 where the sentence answers the question."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        next(file)  # header
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [TextPair(question, sentence, float(label == "entailment")) for _, question, sentence, label in rows]


def by_first(pairs: list[TextPair]) -> list[list[TextPair]]:
    """Group pairs that share their first text, in order of first appearance."""
    groups: dict[str, list[TextPair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.first].append(pair)
    return list(groups.values())


def read_boolq(path: Path) -> list[tuple[str, str]]:
    """Question and the passage that settles it. Whether the answer is yes or no is not used."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["question"], row["passage"]) for row in rows]


def read_trecqa(path: Path) -> list[Ranking]:
    """TREC-QA questions with candidate sentences. Evaluation only."""
    candidates: dict[str, list[str]] = defaultdict(list)
    relevant: dict[str, set[int]] = defaultdict(set)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            query = row["qtext"]
            if row["label"] == "1":
                relevant[query].add(len(candidates[query]))
            candidates[query].append(row["atext"])
    return [Ranking(q, tuple(texts), frozenset(relevant[q])) for q, texts in candidates.items()]


def read_cosqa(queries: Path, code_index: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """CoSQA's queries with the index of their function, and all functions. Evaluation only."""
    with gzip.open(queries, "rt", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = json.load(file)
    with gzip.open(code_index, "rt", encoding="utf-8") as file:
        index: dict[str, int] = json.load(file)
    functions = [""] * (max(index.values()) + 1)
    for code, position in index.items():
        functions[position] = code
    return [(row["doc"], row["retrieval_idx"]) for row in rows], functions
