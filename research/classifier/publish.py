"""Calibrate, measure and ship a trained classifier: `python -m research.classifier.publish --run-dir …`.

Takes the export of a training run (quantised delta + card), puts it together as an installation would, picks the
threshold on the dev pairs, measures on rows nothing was trained on, writes the figures into the card and copies both
to where the library ships them from. The delta already carries the temperature in its head's scale.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from research.relations import unrelated_first
from research.relations.classifier import Classifier, entailment_logits, load_classifier, pair_logits
from research.relations.evaluate import TEST, as_text, report
from research.relations.hypotheses import RELATION_HYPOTHESES, SNLI_HYPOTHESES, UNSEEN_WORDINGS
from research.relations.metrics import confusion, f1_scores, softmax, threshold_for_precision
from research.relations.pairs import LABELS, Pair, read_pairs
from research.relations.prose_pairs import snli_rows
from research.starter_evaluation import CONFIDENT, TOPIC_LENGTHS_TOKENS
from research.topics.evaluate import DEFAULT_TEMPLATE, read_topics
from research.training.export import write_card
from trivet.starter.assemble import assemble
from trivet.starter.card import read_card

SHIPPED = Path("trivet/starter/classifier")
TEMPLATE = Path(__file__).parent / "card.md"
PRECISION = 0.95
"""The default threshold is the lowest confidence from which this share of the dev answers is right."""

MUST_HOLD = (
    ("def area(r): return PI * r * r", "PI = 3.14159", "dependency", "unrelated"),
    (
        "def total(xs): return sum(price(x) for x in xs)",
        "def price(item): return item.cost * 1.2",
        "dependency",
        "expansion",
    ),
    ("The cache is enabled by default.", "Caching is turned off unless you enable it.", "contradiction", "expansion"),
    (
        "The river rises in the hills and is joined by two smaller streams before it reaches the plain. Barges carried "
        "grain along its lower course until the railway came.",
        "Knead the dough for ten minutes, let it rest under a cloth and shape it into a loaf. A hot stone gives the "
        "bread a crisp crust.",
        "unrelated",
        "expansion",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("research/runs/classifier"))
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--prepared", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument(
        "--limit", type=int, help="measure on this many test pairs only (for a trial, not for shipping)"
    )
    parser.add_argument(
        "--evaluation", type=Path, nargs="+", required=True, help="what research.starter_evaluation wrote of the export"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ship", action="store_true", help=f"copy to {SHIPPED}")
    args = parser.parse_args()
    export = args.run_dir / "export"
    classifier = load_classifier(assemble(export, args.run_dir / "assembled"), threads=args.threads)
    dev = read_pairs(args.prepared / "dev.jsonl.gz")
    metrics = quick_metrics(classifier, args.data, dev)
    print(json.dumps(metrics, indent=1), flush=True)
    card = read_card(export / "model.json")
    metrics["temperature"] = (
        card.metrics["dev"]["temperature"] if "dev" in card.metrics else card.metrics["temperature"]
    )
    metrics["relations"] = relation_metrics(classifier, args.limit)
    metrics["evaluation"] = {k: v for path in args.evaluation for k, v in json.loads(path.read_text()).items()}
    write_card(card.model_copy(update={"metrics": metrics, "threshold": metrics["threshold"]}), export)
    (export / "README.md").write_text(card_text(metrics), encoding="utf-8")
    if args.ship:
        SHIPPED.mkdir(parents=True, exist_ok=True)
        for name in ("delta.safetensors", "model.json", "README.md"):
            shutil.copyfile(export / name, SHIPPED / name)
        # The score belongs to these weights, and is read from them as they are served.
        unrelated_first.write(
            unrelated_first.pick(
                unrelated_first.read_shipped(read_pairs(TEST)[: unrelated_first.PAIRS]), metrics["threshold"]
            )
        )


def card_text(metrics: dict[str, Any]) -> str:
    """Render the human-readable card from the figures of `model.json`."""
    table = metrics["relations"]["confusion"]
    lines = ["| | " + " | ".join(LABELS) + " |", "|---" * (len(LABELS) + 1) + "|"]
    lines += [f"| {label} | " + " | ".join(str(table[label][p]) for p in LABELS) + " |" for label in LABELS]
    return TEMPLATE.read_text(encoding="utf-8").format(
        **metrics,
        hypotheses=RELATION_HYPOTHESES,
        longer=longer(metrics["evaluation"]),
        unseen_pairs=metrics["relations"]["pairs"] // 5,
        found=found(metrics["relations"]),
        confusion="\n".join(lines),
    )


def longer(figures: dict[str, Any]) -> str:
    """The table of what `research.starter_evaluation` measured."""
    topics = {length: topic_accuracy(figures["topics"], length) for length in TOPIC_LENGTHS_TOKENS}
    notes, inference, direction = (figures[name] for name in ("notes", "inference", "direction"))
    rows = [
        (f"topics of texts of {', '.join(f'{n:,}' for n in topics)} tokens, 8 labels: top-1",
         " / ".join(f"{accuracy:.2f}" for accuracy in topics.values())),
        ("`docs/security.md`, each topic by itself", ", ".join(f"{k} {v:.2f}" for k, v in figures["security"].items())),
        (f"{notes['apart']['pairs']} pairs of notes on different parts of one program: falsely a contradiction with "
         f"a confidence of {CONFIDENT} or more", f"{notes['apart']['… confidently']:.1%}"),
        (f"{notes['contradicting']['pairs']} pairs of notes that contradict each other: found",
         f"{notes['contradicting']['called contradiction']:.1%}"),
        *repetition_rows(figures["repetition"]),
        *planted_rows(figures["planted"]),
        *written_rows(figures["written"]),
        *((f"{name}: accuracy", f"{inference[name]:.3f}") for name in inference if name.endswith("entailed or not")),
        ("dependency / expansion: the pair scores above its reverse",
         f"{direction['dependency: straight above turned']:.2f} / {direction['expansion: straight above turned']:.2f}"),
    ]  # fmt: skip
    return "\n".join(["| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)])


def repetition_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines on what is said again."""
    sets = [figures[name] for name in ("itself", "in other words", "trifles")]
    pairs = "{} sentences beside themselves, {} pairs in other words, {} equal but for trifles".format(
        *(one["pairs"] for one in sets)
    )
    return [
        (f"{pairs}: falsely a contradiction", " / ".join(str(one["called contradiction"]) for one in sets)),
        (f"the same with a confidence of {figures['threshold']:.2f} or more",
         " / ".join(str(one["… confidently"]) for one in sets)),
    ]  # fmt: skip


def planted_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines on contradictions of one sentence in passages, from the threshold on."""

    def counts(*names: str) -> str:
        return " / ".join(f"{figures[name]['… confidently']} of {figures[name]['pairs']}" for name in names)

    return [
        (f"a sentence in a passage of 200 tokens contradicts a statement, or a passage with it: found with a "
         f"confidence of {figures['threshold']:.2f} or more",
         counts("statement beside passage", "passage beside passage")),
        ("the same passages without the sentence: falsely a contradiction", counts("… without", "passages without")),
        ("the same passages with the statement itself instead", counts("… repeating", "passages repeating")),
    ]  # fmt: skip


def written_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines on statements and paragraphs that were written for this and held back, from the threshold on."""

    def counts(kind: str) -> str:
        sets = (figures[f"{name} {kind}"] for name in ("statements", "paragraphs"))
        return " / ".join(f"{one['… confidently']} of {one['pairs']}" for one in sets)

    return [
        (f"a statement / a paragraph beside one that conflicts with it: found with a confidence of "
         f"{figures['threshold']:.2f} or more", counts("in conflict")),
        ("beside one that says the same in other words: falsely a contradiction", counts("again")),
        ("beside one on another aspect: falsely a contradiction", counts("beside")),
    ]  # fmt: skip


def topic_accuracy(figures: dict[str, Any], length_tokens: int) -> float:
    """Of the texts of one length, read as the library does: in the widest windows, of which the clearest counts."""
    *_, widest = (v for k, v in figures.items() if k.startswith(f"{length_tokens} tokens,") and k.endswith(", max"))
    accuracy: float = widest["accuracy"]
    return accuracy


_CODE = ("easy-code", "hard-class", "hard-constant", "hard-function", "hard-import", "hard-method")
_TOLD = {
    "dependency": ["dependency/"],
    "unrelated_code": [f"unrelated/{kind}" for kind in _CODE],
    "default_contradiction": ["contradiction/default-contradiction"],
    "default_expansion": ["expansion/default-expansion"],
    "snli_contradiction": ["contradiction/snli"],
    "template_opposite": ["contradiction/template-opposite"],
}


def found(relations: dict[str, Any]) -> dict[str, str]:
    """Return texts such as `45 of 60` for the kinds of pairs in the card."""
    counts = {}
    for name, prefixes in _TOLD.items():
        of_kind = [v for kind, v in relations["accuracy_by_kind"].items() if kind.startswith(tuple(prefixes))]
        right, pairs = round(sum(share * count for share, count in of_kind)), sum(count for _, count in of_kind)
        counts[name] = f"{right:,} of {pairs:,}"
    return counts


def quick_metrics(classifier: Classifier, data: Path, dev: list[Pair]) -> dict[str, Any]:
    """What is measured in a minute or two: examples that must hold, topics, inference, and the dev threshold."""
    logits = pair_logits(classifier, [(p.first, p.second) for p in dev])
    gold = np.array([LABELS.index(p.label) for p in dev])
    probabilities = softmax(logits)
    threshold = threshold_for_precision(probabilities, gold, PRECISION)
    kept = probabilities.max(axis=1) >= threshold
    return {
        "must_hold": must_hold(classifier),
        "topics_accuracy": topics_accuracy(classifier),
        **snli_metrics(classifier, data),
        "dev_macro_f1": round(_macro_f1(logits, gold), 4),
        "threshold": threshold,
        "dev_share_above_threshold": round(float(kept.mean()), 3),
    }


def _macro_f1(logits: np.ndarray, gold: np.ndarray) -> float:
    return float(f1_scores(confusion(gold, logits.argmax(axis=1), len(LABELS))).mean())


def must_hold(classifier: Classifier) -> list[dict[str, Any]]:
    """Scores of the examples whose order is promised."""
    scores = softmax(pair_logits(classifier, [(first, second) for first, second, _, _ in MUST_HOLD]))
    return [
        {
            "first": first[:60],
            "scores": dict(zip(LABELS, row.round(3).tolist(), strict=True)),
            "holds": bool(row[LABELS.index(above)] > row[LABELS.index(below)]),
        }
        for (first, _, above, below), row in zip(MUST_HOLD, scores, strict=True)
    ]


def topics_accuracy(classifier: Classifier) -> float:
    """Top-1 of the 100 sentences over 8 topics."""
    rows = read_topics()
    labels = sorted({topic for topic, _ in rows})
    logits = entailment_logits(classifier, [s for _, s in rows], [DEFAULT_TEMPLATE.format(label) for label in labels])
    return float(np.mean([labels[i] == topic for i, (topic, _) in zip(logits.argmax(axis=1), rows, strict=True)]))


def snli_metrics(classifier: Classifier, data: Path) -> dict[str, float]:
    """The 300 rows held back: the three verdicts on a pair, and entailed or not as premise and hypothesis."""
    rows = snli_rows(data, held_back=True)
    verdicts = list(SNLI_HYPOTHESES)
    logits = pair_logits(classifier, [(r.premise, r.hypothesis) for r in rows], SNLI_HYPOTHESES)
    right = [verdicts[i] == r.label for i, r in zip(logits.argmax(axis=1), rows, strict=True)]
    return {"snli_three_way_accuracy": round(float(np.mean(right)), 4), "snli_rows": len(rows)}


def relation_metrics(classifier: Classifier, limit: int | None) -> dict[str, Any]:
    """The relation benchmark with the served wordings, and a fifth of it with wordings training never showed."""
    pairs = read_pairs(Path("research/relations/test.jsonl.gz"))[:limit]
    result = report(pairs, pair_logits(classifier, [(p.first, p.second) for p in pairs]))
    print(as_text(result), flush=True)
    few = pairs[: len(pairs) // 5]
    unseen = {label: UNSEEN_WORDINGS[label] for label in LABELS}
    logits = pair_logits(classifier, [(p.first, p.second) for p in few], unseen)
    gold = np.array([LABELS.index(p.label) for p in few])
    result["macro_f1_unseen_wordings"] = round(_macro_f1(logits, gold), 4)
    print(f"with unseen wordings ({len(few)} pairs): macro-F1 {result['macro_f1_unseen_wordings']:.3f}")
    return result


if __name__ == "__main__":
    main()
