"""Score a classifier on the relation benchmark: `python -m research.relations.evaluate MODEL_DIR --out result.json`.

MODEL_DIR is any Hugging Face sequence classifier with an `entailment` label; `starter` means the shipped one. Each
pair is asked one hypothesis per relation; the answer is the softmax over the entailment logits. Prints macro-F1,
accuracy, F1 per label, the confusion matrix, calibration, and accuracy per kind of pair.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from research.relations.metrics import confusion, expected_calibration_error, f1_scores, fit_temperature, softmax
from research.relations.pairs import LABELS, Pair, read_pairs

TEST = Path(__file__).parent / "test.jsonl.gz"


def report(pairs: Sequence[Pair], logits: np.ndarray) -> dict[str, Any]:
    """Every figure of the benchmark from the entailment logits in the order of LABELS.  # logits (N, 4)"""
    gold = np.array([LABELS.index(p.label) for p in pairs])
    predicted = logits.argmax(axis=1)
    table = confusion(gold, predicted, len(LABELS))
    f1 = f1_scores(table)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for pair, right in zip(pairs, (predicted == gold).tolist(), strict=True):
        by_kind[f"{pair.label}/{pair.kind}"].append(right)
    return {
        "pairs": len(pairs),
        "macro_f1": round(float(f1.mean()), 4),
        "accuracy": round(float((predicted == gold).mean()), 4),
        "f1": {label: round(float(value), 4) for label, value in zip(LABELS, f1, strict=True)},
        "confusion": {
            label: dict(zip(LABELS, row, strict=True)) for label, row in zip(LABELS, table.tolist(), strict=True)
        },
        "ece": round(expected_calibration_error(softmax(logits), gold), 4),
        "best_temperature": round(fit_temperature(logits, gold), 3),
        "accuracy_by_kind": {kind: [round(float(np.mean(v)), 3), len(v)] for kind, v in sorted(by_kind.items())},
    }


def as_text(result: Mapping[str, Any]) -> str:
    """The report for people: one table, figures as measured."""
    lines = [
        f"{result['pairs']} pairs   macro-F1 {result['macro_f1']:.3f}   accuracy {result['accuracy']:.3f}   "
        f"ECE {result['ece']:.3f} (best temperature {result['best_temperature']:.2f})",
        "",
        f"{'true / predicted':16s}" + "".join(f"{label:>15s}" for label in LABELS) + f"{'F1':>8s}",
    ]
    for label in LABELS:
        row = result["confusion"][label]
        lines.append(f"{label:16s}" + "".join(f"{row[p]:15d}" for p in LABELS) + f"{result['f1'][label]:8.3f}")
    lines.append("")
    lines.extend(f"{kind:44s} {value[0]:6.3f}  of {value[1]}" for kind, value in result["accuracy_by_kind"].items())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="directory of a classifier, or `starter`")
    parser.add_argument("--pairs", type=Path, default=TEST)
    parser.add_argument("--limit", type=int, help="score only this many pairs (the first by id, which is a hash)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fp32", action="store_true", help="no bf16 autocast")
    parser.add_argument("--out", type=Path, help="also write the figures here, as JSON")
    args = parser.parse_args()
    # Imported here so that reading figures and the tests of this module need no torch.
    from research.relations.classifier import load_classifier, pair_logits, starter_dir

    pairs = read_pairs(args.pairs)[: args.limit]
    model_dir = starter_dir() if args.model == "starter" else Path(args.model)
    classifier = load_classifier(model_dir, threads=args.threads, bf16=not args.fp32)
    started = time.perf_counter()
    logits = pair_logits(classifier, [(p.first, p.second) for p in pairs])
    elapsed_s = time.perf_counter() - started
    result = report(pairs, logits)
    result["pairs_per_s"] = round(len(pairs) / elapsed_s, 1)
    print(as_text(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
