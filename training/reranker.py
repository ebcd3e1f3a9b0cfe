"""Train the starter reranker: `python -m training.reranker --data training/data --run-dir training/runs/reranker`.

A cross-encoder with one logit over (query, document). Its groups come from QNLI (each question with the sentences
annotated for it), BoolQ and functions of open-source Python packages with negatives mined by the embedder; the last
two are prepared by `python -m training.mine`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import BertForSequenceClassification

from training.base_model import load_base
from training.batches import Group, PairSequence, PairTokenizer, TextPair
from training.calibration import fit_temperature
from training.datasets import by_first, read_qnli
from training.export import export_delta
from training.loop import LoopSettings, fit
from training.mined import read_mined
from training.ranking import reciprocal_rank
from training.ranking_loss import RankingLoss
from training.runtime import seed_everything, tune_process
from training.scoring import score

HELD_BACK_GROUPS = 500
MODEL_VERSION = "1"


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
    training, held_back = _groups(args)
    tokens = sum(len(s.ids) for g in training for s in g.sequences)
    print(f"{len(training):,} groups, {sum(len(g.sequences) for g in training):,} pairs, {tokens:,} tokens")

    def evaluate(model: BertForSequenceClassification) -> dict[str, float]:
        return measure(model, held_back)

    def export(model: BertForSequenceClassification, metrics: dict[str, float]) -> None:
        export_delta(
            model,
            args.run_dir / "export",
            task="reranker",
            model_version=MODEL_VERSION,
            id2label={0: "relevance"},
            head_scale=1.0 / temperature(model, held_back["qnli"]),
            config={"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
            metrics={"held_back": metrics},
        )

    model = load_base(num_labels=1)
    if args.init:
        saved = torch.load(args.init / "checkpoint.pt", weights_only=True)
        model.load_state_dict(saved["best_state"], strict=False)
    result = fit(
        model,
        training,
        loss=RankingLoss(),
        evaluate=evaluate,
        metric="mean",
        settings=settings,
        run_dir=args.run_dir,
        on_best=export,
    )
    print(json.dumps({"steps": result.steps, "trained_s": round(result.trained_s), **result.best_metrics}))


def measure(model: BertForSequenceClassification, held_back: dict[str, list[Group]]) -> dict[str, float]:
    """Accuracy at 0.5 on held-back QNLI rows, mean reciprocal rank within held-back mined groups, their mean."""
    metrics: dict[str, float] = {}
    for source, groups in held_back.items():
        sequences = [s for g in groups for s in g.sequences]
        logits = score(model, sequences)[:, 0]  # (N,)
        if source == "qnli":
            targets = np.array([s.target for s in sequences])
            metrics["qnli_accuracy"] = float(((logits > 0) == (targets > 0.5)).mean())
        else:
            metrics[f"{source}_mrr"] = _mean_reciprocal_rank(groups, logits)
    metrics["mean"] = float(np.mean(list(metrics.values())))
    return metrics


def temperature(model: BertForSequenceClassification, groups: list[Group]) -> float:
    """Temperature that makes the sigmoid a probability on these groups."""
    sequences = [s for g in groups for s in g.sequences]
    return fit_temperature(score(model, sequences)[:, 0], np.array([s.target for s in sequences]))


def _mean_reciprocal_rank(groups: list[Group], logits: np.ndarray) -> float:
    ranks, start = [], 0
    for group in groups:
        rows = len(group.sequences)
        relevant = frozenset(i for i, s in enumerate(group.sequences) if s.target > 0.5)
        ranks.append(reciprocal_rank(logits[start : start + rows].tolist(), relevant))
        start += rows
    return float(np.mean(ranks))


def _groups(args: argparse.Namespace) -> tuple[list[Group], dict[str, list[Group]]]:
    """Training groups, and those held back by source."""
    tokenizer = PairTokenizer(args.max_tokens)
    rng = np.random.default_rng(args.seed)
    sources = {"qnli": by_first(read_qnli(args.data / "qnli-train.tsv.gz"))}
    for name in args.mined:
        sources[name] = read_mined(args.data / f"{name}-groups.jsonl.gz")
    training: list[Group] = []
    held_back: dict[str, list[Group]] = {}
    for name, pair_groups in sources.items():
        pair_groups = with_easy_negatives(pair_groups, args.easy_negatives, rng)
        groups = _encode(tokenizer, pair_groups, name)
        order = rng.permutation(len(groups))
        count = min(HELD_BACK_GROUPS, len(groups) // 20)
        held_back[name] = [groups[i] for i in order[:count]]
        training += [groups[i] for i in order[count:]]
    return training, held_back


def with_easy_negatives(groups: list[list[TextPair]], count: int, rng: np.random.Generator) -> list[list[TextPair]]:
    """Add to each group `count` documents of other groups.

    Hard negatives alone teach what separates an answer from its neighbours in a paragraph, and nothing about texts on
    another subject; a reranker meets both.
    """
    extended = []
    for index, pairs in enumerate(groups):
        others = (index + 1 + rng.integers(0, len(groups) - 1, size=count)) % len(groups)  # never its own group
        documents = [groups[i][rng.integers(len(groups[i]))].second for i in others]
        extended.append([*pairs, *(TextPair(pairs[0].first, text, 0.0) for text in documents)])
    return extended


def _encode(tokenizer: PairTokenizer, pair_groups: list[list[TextPair]], source: str) -> list[Group]:
    flat: list[PairSequence] = tokenizer.encode([p for pairs in pair_groups for p in pairs])
    groups, start = [], 0
    for pairs in pair_groups:
        groups.append(Group(tuple(flat[start : start + len(pairs)]), source))
        start += len(pairs)
    return groups


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("training/data"), help="folder of the data sets")
    parser.add_argument("--run-dir", type=Path, default=Path("training/runs/reranker"))
    parser.add_argument("--mined", nargs="*", default=["code", "boolq"], help="mined sources besides QNLI")
    parser.add_argument("--easy-negatives", type=int, default=1, help="documents of other queries, per group")
    parser.add_argument("--init", type=Path, help="run directory to continue from, with a new rate schedule")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--token-budget", type=int, default=2048, help="padded tokens per step")
    parser.add_argument("--max-tokens", type=int, default=160, help="longer pairs are cut, in training only")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
