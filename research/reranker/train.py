"""Train the starter reranker: `python -m research.reranker.train --data research/data --run-dir
research/runs/reranker`.

A cross-encoder with one logit over (query, document). Its groups come from QNLI (each question with the sentences
annotated for it), BoolQ and functions of open-source Python packages, with negatives and similarities of the embedder;
`python -m research.reranker.mine` prepares them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import BertForSequenceClassification

from research.reranker.mined import MinedGroup, read_mined
from research.reranker.ranking_loss import RankingLoss, Teaching
from research.training.base_model import initial_weights, load_base
from research.training.batches import Group, PairSequence, PairTokenizer, TextPair
from research.training.calibration import fit_temperature
from research.training.export import export_delta
from research.training.loop import LoopSettings, fit
from research.training.runtime import seed_everything, tune_process
from research.training.scoring import score
from trivet.evaluation.metrics import reciprocal_rank

HELD_BACK_GROUPS = 500
HELD_BACK_SEED = 17
"""The same rows in every run, whatever order it reads the others in: a run may go on from another."""
SHIPPED = Path("trivet/starter/reranker")
MODEL_VERSION = "4"
TEACHING = {"qnli": Teaching(6.0), "boolq": Teaching(6.0), "code": Teaching(1.0, pointwise=True)}
"""People's annotations nearly always outweigh the embedder's opinion. Mined labels hardly do."""


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads, niceness=args.nice)
    settings = LoopSettings(
        epochs=args.epochs,
        token_budget=args.token_budget,
        peak_lr=args.lr,
        seed=args.seed,
        decay=args.decay,
        evaluations=args.evaluations,
    )
    seed_everything(settings.seed)
    training, held_back = _groups(args)
    tokens = sum(len(s.ids) for g in training for s in g.sequences)
    print(f"{len(training):,} groups, {sum(len(g.sequences) for g in training):,} pairs, {tokens:,} tokens")

    def evaluate(model: BertForSequenceClassification) -> dict[str, float]:
        return measure(model, held_back)

    def export_best(model: BertForSequenceClassification, metrics: dict[str, float]) -> None:
        export(model, metrics, held_back, args.run_dir / "export")

    model = load_base(num_labels=1)
    if args.init:
        model.load_state_dict(initial_weights(args.init, SHIPPED), strict=False)
    result = fit(
        model,
        training,
        loss=RankingLoss(teaching=TEACHING),
        evaluate=evaluate,
        metric="mean",
        settings=settings,
        run_dir=args.run_dir,
        on_best=export_best,
    )
    print(json.dumps({"steps": result.steps, "trained_s": round(result.trained_s), **result.best_metrics}))


def measure(model: BertForSequenceClassification, held_back: dict[str, list[Group]]) -> dict[str, float]:
    """Accuracy at 0.5 on held-back QNLI rows, mean reciprocal rank within held-back mined groups, their mean.

    In groups without labels, it is the rank of the document with the highest similarity of the embedder.
    """
    metrics: dict[str, float] = {}
    for source, groups in held_back.items():
        sequences = [s for g in groups for s in g.sequences]
        logits = score(model, sequences)[:, 0]  # (N,)
        if source == "qnli":
            targets = np.array([s.target for s in sequences])
            metrics["qnli_accuracy"] = float(((logits > 0) == (targets > 0.5)).mean())
            continue
        scored = list(zip(groups, np.split(logits, np.cumsum([len(g.sequences) for g in groups])[:-1]), strict=True))
        labelled = [reciprocal_rank(found, _wanted(g)) for g, found in scored if g.labelled]
        taught = [reciprocal_rank(found, _wanted(g)) for g, found in scored if not g.labelled]
        metrics[f"{source}_mrr"] = float(np.mean(labelled))
        if taught:
            metrics[f"{source}_teacher_mrr"] = float(np.mean(taught))
    metrics["mean"] = float(np.mean(list(metrics.values())))
    return metrics


def export(
    model: BertForSequenceClassification, metrics: dict[str, float], held_back: dict[str, list[Group]], folder: Path
) -> None:
    """Write what the repository ships, calibrated on the held-back QNLI rows."""
    export_delta(
        model,
        folder,
        task="reranker",
        model_version=MODEL_VERSION,
        id2label={0: "relevance"},
        head_scale=1.0 / temperature(model, held_back["qnli"]),
        config={"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
        metrics={"held_back": metrics},
    )


def temperature(model: BertForSequenceClassification, groups: list[Group]) -> float:
    """Temperature that makes the sigmoid a probability on these groups."""
    sequences = [s for g in groups for s in g.sequences]
    return fit_temperature(score(model, sequences)[:, 0], np.array([s.target for s in sequences]))


def _wanted(group: Group) -> np.ndarray:
    """Which of the documents should come first: the good one, else the embedder's favourite.  # (N,) bool"""
    if group.labelled:
        return np.array([s.target > 0.5 for s in group.sequences])
    return np.arange(len(group.sequences)) == np.argmax([s.similarity for s in group.sequences])


def _groups(args: argparse.Namespace) -> tuple[list[Group], dict[str, list[Group]]]:
    """Training groups, and those held back by source."""
    tokenizer = PairTokenizer(args.max_tokens)
    training: list[Group] = []
    for name in args.sources:
        kept, _ = split(read_mined(args.data / f"{name}-groups.jsonl.gz"))
        training += encode_groups(tokenizer, [g.pairs() for g in kept], name)
    return training, held_back_groups(args.data, args.sources, max_tokens=args.max_tokens)


def held_back_groups(data: Path, sources: Sequence[str], *, max_tokens: int) -> dict[str, list[Group]]:
    """The groups that a training holds back, by source."""
    tokenizer = PairTokenizer(max_tokens)
    held = {name: split(read_mined(data / f"{name}-groups.jsonl.gz"))[1] for name in sources}
    bare = {name: [g.pairs(with_added=False) for g in groups] for name, groups in held.items()}
    return {name: encode_groups(tokenizer, pairs, name) for name, pairs in bare.items()}


def split(groups: list[MinedGroup]) -> tuple[list[MinedGroup], list[MinedGroup]]:
    """Groups to train on and groups held back: at most `HELD_BACK_GROUPS`, at most a twentieth.

    Which ones depends on how many there are, and on nothing that is in them.
    """
    order = np.random.default_rng(HELD_BACK_SEED).permutation(len(groups)).tolist()
    count = min(HELD_BACK_GROUPS, len(groups) // 20)
    return [groups[i] for i in order[count:]], [groups[i] for i in order[:count]]


def encode_groups(tokenizer: PairTokenizer, pair_groups: list[list[TextPair]], source: str) -> list[Group]:
    """Each list of pairs as one group."""
    flat: list[PairSequence] = tokenizer.encode([p for pairs in pair_groups for p in pairs])
    groups, start = [], 0
    for pairs in pair_groups:
        groups.append(Group(tuple(flat[start : start + len(pairs)]), source))
        start += len(pairs)
    return groups


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"), help="folder of the data sets")
    parser.add_argument("--run-dir", type=Path, default=Path("research/runs/reranker"))
    parser.add_argument("--sources", nargs="+", default=["qnli", "code", "boolq"], help="what mining has prepared")
    parser.add_argument("--init", help="a checkpoint.pt to go on from, with a new rate schedule, or `shipped`")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--token-budget", type=int, default=2048, help="padded tokens per step")
    parser.add_argument("--max-tokens", type=int, default=192, help="longer pairs are cut, in training only")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--decay", type=float, default=0.5, help="share of the steps in which the rate falls")
    parser.add_argument("--evaluations", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=17, help="of the order of the groups")
    return parser.parse_args()


if __name__ == "__main__":
    main()
