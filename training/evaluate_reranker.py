"""Measure a reranker on rows it was not trained on: `python -m training.evaluate_reranker --data training/data`.

By default the shipped one, as users get it: the delta assembled with the base weights. Prints JSON and, with
`--update-card`, records it in the shipped `model.json`.

- QNLI dev: accuracy at 0.5, calibration error.
- TREC-QA dev: mean average precision and reciprocal rank, beside those of the embedder alone.
- CoSQA dev: mean reciprocal rank of the gold function among 6,267 for the embedder alone, after reranking its best
  `--depth`, and after ordering these by both scores, standardised and added. What the embedder's counts in that sum is
  chosen on held-back code groups of the training data.
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
from training.base_model import load_trained, quiet_transformers
from training.batches import PairTokenizer, TextPair
from training.datasets import Ranking, read_cosqa, read_qnli, read_trecqa
from training.embedding import Embedder
from training.export import write_card
from training.mined import MinedGroup, read_mined
from training.reranker import split
from training.runtime import tune_process
from training.scoring import score
from trivet.evaluation.metrics import average_precision, calibration_error, reciprocal_rank
from trivet.starter.assemble import assemble
from trivet.starter.card import read_card

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Scores and whether each candidate is relevant, to a figure."""

SETS = ("qnli", "trecqa", "cosqa")
FUSION_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)
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
            _, held_back = split(read_mined(args.data / "code-groups.jsonl.gz"), args.seed)
            weight = measure.fusion_weight(held_back)
            metrics["cosqa_dev"] = measure.cosqa(args.data, depth=args.depth, fusion_weight=weight)
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

    def fusion_weight(self, groups: list[MinedGroup]) -> float:
        """The weight of the embedder's score, beside the reranker's, that orders these groups best."""
        rankings = [
            Ranking(g.query, tuple(g.documents), frozenset(np.flatnonzero(g.targets).tolist()))
            for g in groups
            if len(g.documents) > 1
        ]
        similarities = [np.array(g.similarities) for g in groups if len(g.documents) > 1]
        reranked = self._by_ranking(rankings)

        def order(weight: float) -> float:
            return _mean(reciprocal_rank, _fused(reranked, similarities, weight), rankings)

        return max(FUSION_WEIGHTS, key=order)

    def cosqa(self, data: Path, *, depth: int, fusion_weight: float) -> dict[str, float]:
        """The gold function counts 0 for reranking when the embedder did not put it among the best `depth`."""
        queries, functions = read_cosqa(data / "cosqa-retrieval-dev.json.gz", data / "cosqa-code-idx.txt.gz")
        similarity = self._embed([q for q, _ in queries]) @ self._embed(functions).T  # (Q, F)
        gold = np.array([position for _, position in queries])
        gold_similarity = similarity[np.arange(len(queries)), gold]
        ranks = 1 + (similarity > gold_similarity[:, None]).sum(axis=1)
        found = np.flatnonzero(ranks <= depth)  # reranking cannot change the others: they count 0 with it
        top = np.argsort(-similarity[found], axis=1, kind="stable")[:, :depth]
        rankings = [
            Ranking(queries[q][0], tuple(functions[i] for i in row), frozenset(np.flatnonzero(row == gold[q]).tolist()))
            for q, row in zip(found.tolist(), top, strict=True)
        ]
        reranked = self._by_ranking(rankings)
        embedded = [similarity[q, row] for q, row in zip(found.tolist(), top, strict=True)]
        fused = _fused(reranked, embedded, fusion_weight)
        share = len(found) / len(queries)
        return {
            "queries": len(queries),
            "functions": len(functions),
            "depth": depth,
            "embed_mrr": round(float((1 / ranks).mean()), 4),
            "embed_recall_at_depth": round(share, 4),
            "embed_rerank_mrr": round(share * _mean(reciprocal_rank, reranked, rankings), 4),
            "fusion_weight": fusion_weight,
            "embed_rerank_fused_mrr": round(share * _mean(reciprocal_rank, fused, rankings), 4),
        }

    def _scores(self, pairs: list[TextPair]) -> np.ndarray:
        return score(self._model, self._tokenizer.encode(pairs), bf16=self._bf16)[:, 0]

    def _by_ranking(self, rankings: list[Ranking]) -> list[np.ndarray]:
        flat = self._scores([TextPair(r.query, text, 0.0) for r in rankings for text in r.candidates])
        return np.split(flat, np.cumsum([len(r.candidates) for r in rankings])[:-1])


def _mean(metric: Metric, scores: list[np.ndarray], rankings: list[Ranking]) -> float:
    flags = [np.isin(np.arange(len(r.candidates)), list(r.relevant)) for r in rankings]
    return round(float(np.mean([metric(s, f) for s, f in zip(scores, flags, strict=True)])), 4)


def _fused(reranked: list[np.ndarray], embedded: list[np.ndarray], weight: float) -> list[np.ndarray]:
    return [_standardised(r) + weight * _standardised(e) for r, e in zip(reranked, embedded, strict=True)]


def _standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / (scores.std() + 1e-9)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = Path(trivet.starter.__file__).parent / "reranker"
    parser.add_argument("--source", type=Path, default=shipped, help="folder of delta.safetensors and model.json")
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--depth", type=int, default=30, help="candidates per query that are reranked")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="cosqa takes longer than the others")
    parser.add_argument("--update-card", action="store_true", help="record the figures in model.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=17, help="the training's, which decides what was held back")
    return parser.parse_args()


if __name__ == "__main__":
    main()
