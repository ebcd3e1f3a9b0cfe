"""How a reranker scores related and unrelated pairs: `python -m research.relations.relevance starter --pairs FILE`.

`/v1/relations` reranks candidates before it classifies them, and leaves out those below `min_relevance`. A useful
default loses few related pairs; this prints, for several such losses, the relevance it corresponds to and the share of
unrelated pairs it spares the classifier. To choose a default give it pairs of the dev packages, not the test file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from research.relations.pairs import Pair, read_pairs

KEPT = (0.99, 0.975, 0.95, 0.9)
"""Shares of the related pairs that a default may have to keep."""


def highest_relevance_that_keeps(related: np.ndarray, share: float) -> float:
    """The largest cut-off with at least `share` of the `related` scores at or above it."""
    ordered = np.sort(related)[::-1]  # descending
    return float(ordered[int(np.ceil(share * len(ordered))) - 1])


def relevance(directory: Path, pairs: Sequence[Pair], *, threads: int = 1, batch: int = 32) -> np.ndarray:
    """The reranker's score of each pair, 0..1, the first text as the query.  # (N,)"""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].first) + len(pairs[i].second))
    scores = np.zeros(len(pairs), dtype=np.float32)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        texts = [pairs[i].first for i in chosen], [pairs[i].second for i in chosen]
        inputs = tokenizer(*texts, padding=True, truncation="longest_first", max_length=512, return_tensors="pt")
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            scores[chosen] = model(**inputs).logits[:, 0].float().sigmoid().numpy()
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="directory of a reranker, or `starter`")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    pairs = read_pairs(args.pairs)
    scores = relevance(_directory(args.model), pairs, threads=args.threads)
    unrelated = np.array([pair.label == "unrelated" for pair in pairs])
    for label in sorted({pair.label for pair in pairs}):
        of_label = scores[[pair.label == label for pair in pairs]]
        low, middle, high = np.quantile(of_label, (0.05, 0.5, 0.95))
        print(f"{label:14s} 5 % below {low:.3f}, half below {middle:.3f}, 95 % below {high:.3f}")
    for share in KEPT:
        cut = highest_relevance_that_keeps(scores[~unrelated], share)
        spared = np.mean(scores[unrelated] < cut)
        print(f"keeps {share:.1%} of the related: {cut:.4f}; leaves out {spared:.1%} of the unrelated")


def _directory(model: str) -> Path:
    if model != "starter":
        return Path(model)
    from trivet.starter import prepare_starter

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trivet" / "models"
    return prepare_starter("reranker", cache)


if __name__ == "__main__":
    main()
