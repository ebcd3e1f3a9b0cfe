"""Measure a reranker on rows it was not trained on: `python -m research.reranker.evaluate --data research/data`.

By default the shipped one, as users get it: the delta assembled with the base weights. Prints JSON and, with
`--update-card`, records it in the shipped `model.json`.

- QNLI dev: accuracy at 0.5, calibration error.
- TREC-QA dev: mean average precision and reciprocal rank, beside those of the embedder alone.
- CoSQA dev: mean reciprocal rank of the gold function among 6,267 for the embedder alone, after reranking its best
  `--depth`, and with both orders fused, as `trivet eval` does.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertForSequenceClassification

import trivet.starter
from research.training.base_model import load_trained, quiet_transformers
from research.training.batches import PairTokenizer, TextPair
from research.training.datasets import Ranking, read_cosqa, read_qnli, read_trecqa
from research.training.embedding import Embedder
from research.training.export import write_card
from research.training.runtime import tune_process
from research.training.scoring import score
from trivet.evaluation.metrics import (
    average_precision,
    calibration_error,
    reciprocal_rank,
    reciprocal_rank_fusion,
)
from trivet.starter.assemble import assemble
from trivet.starter.card import read_card

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Scores and whether each candidate is relevant, to a figure."""

SETS = ("qnli", "trecqa", "cosqa")
RETRY_QUERY = "how do I retry a failed HTTP request"
RETRY_PASSAGES = (
    "Wrap the call so that a timeout or a 503 is tried again after a pause that doubles each time, up to five times, "
    "with a little random jitter so that clients do not come back all at once.",
    "A CSS grid lays out its children in rows and columns; grid-template-columns sets the width of each track.",
    "Knead the dough for ten minutes, let it rise until it has doubled, then bake the bread at 230 degrees.",
    "A B-tree index lets the database find rows by a column's value without reading the whole table.",
)
"""The right one first. None repeats the query's wording."""


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads, niceness=args.nice)
    quiet_transformers()
    with tempfile.TemporaryDirectory() as cache:
        model = load_trained(assemble(args.source, Path(cache)))
        measure = Measure(model, bf16=args.precision == "bf16")
        metrics: dict[str, Any] = {"precision": args.precision}
        metrics["retry_example"] = measure.example()
        if "qnli" in args.sets:
            metrics["qnli_dev"] = measure.qnli(args.data / "qnli-dev.tsv.gz")
        if "trecqa" in args.sets:
            metrics["trecqa_dev"] = measure.trecqa(args.data / "trecqa-dev.csv.gz")
        if "cosqa" in args.sets:
            metrics["cosqa_dev"] = measure.cosqa(args.data, depth=args.depth)
    print(json.dumps(metrics, indent=2))
    if args.update_card:
        card = read_card(args.source / "model.json")
        earlier = card.metrics.get("evaluation", {})
        write_card(card.model_copy(update={"metrics": card.metrics | {"evaluation": earlier | metrics}}), args.source)


class Measure:
    """The measurements, over one model."""

    def __init__(self, model: BertForSequenceClassification, *, bf16: bool) -> None:
        self._model = model
        self._bf16 = bf16
        self._tokenizer = PairTokenizer(512)
        self._embed = Embedder(max_tokens=256)

    def example(self) -> dict[str, Any]:
        scores = _sigmoid(self._scores([TextPair(RETRY_QUERY, p, 0.0) for p in RETRY_PASSAGES]))
        return {"scores": [round(float(s), 4) for s in scores], "right_first": bool(scores.argmax() == 0)}

    def qnli(self, path: Path) -> dict[str, float]:
        pairs = read_qnli(path)
        logits = self._scores(pairs)
        targets = np.array([p.target for p in pairs])
        return {
            "rows": len(pairs),
            "accuracy": round(float(((logits > 0) == (targets > 0.5)).mean()), 4),
            "calibration_error": round(calibration_error(_sigmoid(logits), targets > 0.5), 4),
        }

    def trecqa(self, path: Path) -> dict[str, float]:
        """Over the questions that have a right and a wrong candidate; the others any order satisfies."""
        rankings = [r for r in read_trecqa(path) if 0 < len(r.relevant) < len(r.candidates)]
        reranked = self._by_ranking(rankings)
        embedded = [self._embed(list(r.candidates)) @ self._embed([r.query])[0] for r in rankings]
        return {
            "questions": len(rankings),
            "map": _mean(average_precision, reranked, rankings),
            "mrr": _mean(reciprocal_rank, reranked, rankings),
            "embedder_map": _mean(average_precision, embedded, rankings),
            "embedder_mrr": _mean(reciprocal_rank, embedded, rankings),
        }

    def cosqa(self, data: Path, *, depth: int) -> dict[str, float]:
        """What the reranker does not see keeps the place that the embedder gave it."""
        queries, functions = read_cosqa(data / "cosqa-retrieval-dev.json.gz", data / "cosqa-code-idx.txt.gz")
        similarity = self._embed([q for q, _ in queries]) @ self._embed(functions).T  # (Q, F)
        near = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]  # (Q, depth)
        pairs = [TextPair(queries[q][0], functions[i], 0.0) for q, row in enumerate(near) for i in row]
        relevance = _sigmoid(self._scores(pairs)).reshape(near.shape)
        reranked = similarity.copy()
        np.put_along_axis(reranked, near, 2.0 + relevance, axis=1)  # ahead of any cosine
        fused = np.stack([reciprocal_rank_fusion(*rows) for rows in zip(similarity, reranked, strict=True)])
        gold = np.array([[position] for _, position in queries])  # (Q, 1)

        def reciprocal_ranks(scores: np.ndarray) -> np.ndarray:
            return 1 / (1 + (scores > np.take_along_axis(scores, gold, 1)).sum(axis=1))

        def standard_error(gained: np.ndarray) -> float:
            return round(float((gained - embed).std() / len(queries) ** 0.5), 4)

        embed, rerank, both = (reciprocal_ranks(scores) for scores in (similarity, reranked, fused))
        return {
            "queries": len(queries),
            "functions": len(functions),
            "depth": depth,
            "embed_mrr": round(float(embed.mean()), 4),
            "embed_recall_at_depth": round(float((near == gold).any(axis=1).mean()), 4),
            "embed_rerank_mrr": round(float(rerank.mean()), 4),
            "embed_rerank_gain_standard_error": standard_error(rerank),
            "fused_mrr": round(float(both.mean()), 4),
            "fused_gain_standard_error": standard_error(both),
        }

    def _scores(self, pairs: list[TextPair]) -> np.ndarray:
        return score(self._model, self._tokenizer.encode(pairs), bf16=self._bf16)[:, 0]

    def _by_ranking(self, rankings: list[Ranking]) -> list[np.ndarray]:
        flat = self._scores([TextPair(r.query, text, 0.0) for r in rankings for text in r.candidates])
        return np.split(flat, np.cumsum([len(r.candidates) for r in rankings])[:-1])


def _mean(metric: Metric, scores: list[np.ndarray], rankings: list[Ranking]) -> float:
    flags = [np.isin(np.arange(len(r.candidates)), list(r.relevant)) for r in rankings]
    return round(float(np.mean([metric(s, f) for s, f in zip(scores, flags, strict=True)])), 4)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = Path(trivet.starter.__file__).parent / "reranker"
    parser.add_argument("--source", type=Path, default=shipped, help="folder of delta.safetensors and model.json")
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--depth", type=int, default=30, help="candidates per query that are reranked")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="cosqa takes longer than the others")
    parser.add_argument("--update-card", action="store_true", help="record the figures in model.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
