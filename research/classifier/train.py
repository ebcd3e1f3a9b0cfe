"""Train the starter classifier: `python -m research.classifier.train --run-dir research/runs/classifier`.

A cross-encoder that says of (premise, hypothesis) whether the one entails the other. Relations between two texts,
topics and three-way inference are all asked through hypotheses. What it is trained on is in `mixture`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import BertForSequenceClassification

from research.classifier.data import Mix, snli_training_rows, to_groups
from research.classifier.loss import classifier_loss
from research.classifier.mixture import Amounts, training_examples, watching_conflicts
from research.classifier.scores import label_logits
from research.classifier.wordings import pair_premise
from research.relations.assemble import balance
from research.relations.hypotheses import RELATION_HYPOTHESES, SNLI_HYPOTHESES
from research.relations.metrics import confusion, f1_scores, fit_temperature
from research.relations.pairs import LABELS, Pair, read_pairs
from research.relations.prose_pairs import NliRow
from research.training.base_model import initial_weights, load_base
from research.training.batches import Group, PairTokenizer
from research.training.export import export_delta
from research.training.loop import LoopSettings, fit
from research.training.runtime import seed_everything, tune_process

ID2LABEL = {0: "entailment", 1: "not_entailment"}
MODEL_VERSION = "5"
SHIPPED = Path("trivet/starter/classifier")
MAX_TOKENS = 512
_UNCUT_TOKENS = 100_000
DEV_PER_LABEL = 60  # watched during training; more of the dev pairs set the temperature at the end
CONFLICTS = 160


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
    amounts = Amounts(args.rehearsal, args.statements, args.apart)
    examples = list(training_examples(args.data, args.prepared, args.seed, amounts, Mix(**json.loads(args.mix))))
    groups = that_fit(to_groups(examples, PairTokenizer(_UNCUT_TOKENS)))
    _describe(groups)
    watching = Watching.read(args.data, args.prepared, DEV_PER_LABEL)

    def evaluate(model: BertForSequenceClassification) -> dict[str, float]:
        return measure(model, watching)

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


@dataclass(frozen=True, slots=True)
class Watching:
    """What watches a training and decides between weights: nothing of it is trained on, nothing of it is a test row."""

    relations: list[Pair]
    captions: list[NliRow]
    conflicts: list[tuple[tuple[str, str], bool]]
    """Pairs of texts, and whether they contradict each other."""

    @staticmethod
    def read(data: Path, prepared: Path, per_label: int) -> Watching:
        """`per_label` pairs of each relation of the dev packages, the captions that watch, and as many conflicts."""
        relations = balance(read_pairs(prepared / "dev.jsonl.gz"), per_label)
        return Watching(relations, snli_training_rows(data, dev=True), watching_conflicts(data, prepared, CONFLICTS))


def measure(model: BertForSequenceClassification, watching: Watching) -> dict[str, float]:
    """What decides between weights.

    Returns macro-F1 of the relations, accuracy of three-way inference, the share of pairs of which it is known
    rightly whether they conflict, the mean of the three, and the relations' temperature.
    """
    relations, captions = watching.relations, watching.captions
    labels, logits = label_logits(model, [pair_premise(p.first, p.second) for p in relations], RELATION_HYPOTHESES)
    gold = np.array([labels.index(p.label) for p in relations])
    macro_f1 = float(f1_scores(confusion(gold, logits.argmax(axis=1), len(LABELS))).mean())
    verdicts, verdict_logits = label_logits(
        model, [pair_premise(r.premise, r.hypothesis) for r in captions], SNLI_HYPOTHESES
    )
    snli = float(
        np.mean([verdicts[i] == r.label for i, r in zip(verdict_logits.argmax(axis=1), captions, strict=True)])
    )
    _, said = label_logits(model, [pair_premise(*texts) for texts, _ in watching.conflicts], RELATION_HYPOTHESES)
    called = said.argmax(axis=1) == labels.index("contradiction")
    conflicts = float(np.mean(called == np.array([conflict for _, conflict in watching.conflicts])))
    return {
        "relations_macro_f1": macro_f1,
        "snli_accuracy": snli,
        "conflicts_accuracy": conflicts,
        "mean": (macro_f1 + snli + conflicts) / 3,
        "temperature": fit_temperature(logits, gold),
    }


def that_fit(groups: list[Group]) -> list[Group]:
    """The groups that the encoder reads whole: a cut may take away what a label rests on."""
    return [group for group in groups if group.max_tokens <= MAX_TOKENS]


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
    parser.add_argument("--rehearsal", type=float, default=1.0, help="share of the examples but those of statements")
    parser.add_argument("--statements", type=float, default=1.0, help="share of the examples of statements")
    parser.add_argument(
        "--apart",
        type=float,
        default=1.0,
        help="how many times as many notes on parts of one program as rehearsal gets",
    )
    parser.add_argument("--mix", default="{}", help="JSON that overrides fields of `research.classifier.data.Mix`")
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
