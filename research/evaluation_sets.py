"""Writes the sets that `trivet eval` comes with: `python -m research.evaluation_sets --data research/data`.

Samples are drawn by a hash of the texts, so that the same sources give the same files. `relations` and `topics` come
from the benchmarks beside this file; `answers` from QNLI's dev rows, which nothing here is trained on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from research.relations.evaluate import TEST
from research.relations.pairs import LABELS, Pair, read_pairs, stable_fraction
from research.topics.evaluate import read_topics
from research.training.batches import TextPair
from research.training.datasets import by_first, read_qnli
from trivet.evaluation.bundled import DATA

QUESTIONS = 150
SENTENCES = 600
PAIRS_PER_RELATION = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"), help="folder of qnli-dev.tsv.gz")
    args = parser.parse_args()
    queries, corpus = answers(read_qnli(args.data / "qnli-dev.tsv.gz"))
    write(DATA / "answers.jsonl", queries)
    write(DATA / "answers-corpus.jsonl", corpus)
    write(DATA / "relations.jsonl", relations(read_pairs(TEST)))
    write(DATA / "topics.jsonl", topics(read_topics()))


def answers(pairs: Sequence[TextPair]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Questions that have an answer, and sentences: theirs, those of their paragraphs, and others."""
    groups = [g for g in by_first(list(pairs)) if any(p.target > 0.5 for p in g)]
    groups.sort(key=lambda g: stable_fraction(g[0].first))
    others = sorted((p.second for p in pairs), key=stable_fraction)
    chosen = groups[:QUESTIONS]
    sentences = list(dict.fromkeys([p.second for g in chosen for p in g] + others))[:SENTENCES]
    sentences.sort(key=stable_fraction)  # or the order would tell which sentences answer
    ids = {text: f"s{number}" for number, text in enumerate(sentences)}
    queries = [{"query": g[0].first, "relevant": [ids[p.second] for p in g if p.target > 0.5]} for g in chosen]
    return queries, [{"id": key, "text": text} for text, key in ids.items()]


def relations(pairs: Sequence[Pair]) -> list[dict[str, object]]:
    """As many pairs of each relation, in the order of their ids, with their sources."""
    chosen = [
        pair
        for label in LABELS
        for pair in sorted((p for p in pairs if p.label == label), key=lambda p: p.key)[:PAIRS_PER_RELATION]
    ]
    return [
        {"source": p.first, "target": p.second, "relation": p.label, "from": p.source, "licence": p.licence}
        for p in sorted(chosen, key=lambda p: p.key)
    ]


def topics(rows: Iterable[tuple[str, str]]) -> list[dict[str, object]]:
    """Return all rows in a mixed order, so that the first few lines contain all topics."""
    return [{"text": sentence, "label": topic} for topic, sentence in sorted(rows, key=lambda r: stable_fraction(r[1]))]


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
