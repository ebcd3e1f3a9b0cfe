"""Train the starter classifier: `python -m research.classifier.train --run-dir research/runs/classifier`.

A cross-encoder that says of (premise, hypothesis) whether the one entails the other. Relations between two texts,
topics and three-way inference are all asked through hypotheses. What it is trained on is in `classifier_data`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from transformers import BertForSequenceClassification

from research.classifier.data import Mix, snli_training_rows, to_groups, training_examples
from research.classifier.defaults import default_examples, find_defaults
from research.classifier.loss import classifier_loss
from research.classifier.names import name_examples, read_uses
from research.classifier.scores import label_logits
from research.classifier.wordings import pair_premise
from research.relations.assemble import balance
from research.relations.hypotheses import RELATION_HYPOTHESES, SNLI_HYPOTHESES
from research.relations.metrics import confusion, f1_scores, fit_temperature
from research.relations.pairs import LABELS, Pair, read_pairs, seeded
from research.relations.prose_pairs import NliRow
from research.training.base_model import initial_weights, load_base
from research.training.batches import Group, PairTokenizer
from research.training.export import export_delta
from research.training.loop import LoopSettings, fit
from research.training.runtime import seed_everything, tune_process

ID2LABEL = {0: "entailment", 1: "not_entailment"}
MODEL_VERSION = "2"
SHIPPED = Path("trivet/starter/classifier")
MAX_TOKENS = 288
DEV_PER_LABEL = 60  # watched during training; all of the dev pairs set the temperature at the end


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads, niceness=args.nice)
    settings = LoopSettings(
        epochs=args.epochs,
        token_budget=args.token_budget,
        peak_lr=args.lr,
        seed=args.seed,
        evaluations=args.evaluations,
    )
    seed_everything(settings.seed)
    mix = Mix(**json.loads(args.mix))
    examples = training_examples(args.data, args.prepared, mix, args.seed)
    uses = read_uses(args.prepared / "names.jsonl.gz") if mix.names else []
    names = name_examples(uses, mix.names, args.seed, mix.long_names)
    defaults = default_examples(
        list(find_defaults(read_pairs(args.prepared / "train.jsonl.gz"))), mix.defaults, seeded("defaults", args.seed)
    )
    groups = to_groups([*examples, *names, *defaults], PairTokenizer(MAX_TOKENS))
    _describe(groups)
    relations = balance(read_pairs(args.prepared / "dev.jsonl.gz"), DEV_PER_LABEL)
    captions = snli_training_rows(args.data, dev=True)

    def evaluate(model: BertForSequenceClassification) -> dict[str, float]:
        return measure(model, relations, captions)

    def export(model: BertForSequenceClassification, metrics: dict[str, float]) -> None:
        export_delta(
            model,
            args.run_dir / "export",
            task="classifier",
            model_version=MODEL_VERSION,
            id2label=ID2LABEL,
            head_scale=1.0 / metrics["temperature"],
            metrics={"dev": metrics},
        )

    model = load_base(num_labels=2, dropout=args.dropout)
    if args.init:
        model.load_state_dict(initial_weights(args.init, SHIPPED), strict=False)
    result = fit(
        model,
        groups,
        loss=classifier_loss,
        evaluate=evaluate,
        metric="mean",
        settings=settings,
        run_dir=args.run_dir,
        on_best=export,
    )
    print(json.dumps({"steps": result.steps, "trained_s": round(result.trained_s), **result.best_metrics}))


def measure(model: BertForSequenceClassification, relations: list[Pair], captions: list[NliRow]) -> dict[str, float]:
    """Macro-F1 of the relations, accuracy of three-way inference, their mean, and the relations' temperature."""
    labels, logits = label_logits(model, [pair_premise(p.first, p.second) for p in relations], RELATION_HYPOTHESES)
    gold = np.array([labels.index(p.label) for p in relations])
    macro_f1 = float(f1_scores(confusion(gold, logits.argmax(axis=1), len(LABELS))).mean())
    verdicts, verdict_logits = label_logits(
        model, [pair_premise(r.premise, r.hypothesis) for r in captions], SNLI_HYPOTHESES
    )
    snli = float(
        np.mean([verdicts[i] == r.label for i, r in zip(verdict_logits.argmax(axis=1), captions, strict=True)])
    )
    return {
        "relations_macro_f1": macro_f1,
        "snli_accuracy": snli,
        "mean": (macro_f1 + snli) / 2,
        "temperature": fit_temperature(logits, gold),
    }


def _describe(groups: list[Group]) -> None:
    by_source: dict[str, list[int]] = {}
    for group in groups:
        tally = by_source.setdefault(group.source, [0, 0, 0])
        tally[0] += 1
        tally[1] += len(group.sequences)
        tally[2] += sum(len(s.ids) for s in group.sequences)
    for source, (count, sequences, tokens) in sorted(by_source.items()):
        print(f"{source:10s} {count:7,} groups {sequences:7,} sequences {tokens:10,} tokens", flush=True)
    print(f"{'all':10s} {sum(t[2] for t in by_source.values()):,} tokens", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"), help="folder of the public data sets")
    parser.add_argument("--run-dir", type=Path, default=Path("research/runs/classifier"))
    parser.add_argument(
        "--prepared",
        type=Path,
        default=Path("research/runs/classifier-data"),
        help="folder that research.classifier.prepare wrote",
    )
    parser.add_argument(
        "--init", help="a checkpoint.pt whose weights to begin from, or `shipped` for those of the library"
    )
    parser.add_argument("--mix", default="{}", help="JSON that overrides fields of classifier_data.Mix")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=1.5e-4)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nice", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    main()
