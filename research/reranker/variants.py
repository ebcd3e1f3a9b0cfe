"""What cheaper trainings and smaller encoders cost: `python -m research.reranker.variants --data research/data`.

Each variant of the reranker sees the same batches of QNLI in the same order, from the base encoder, at a rate found for
it, and is measured on QNLI dev:

- `full`: every layer learns;
- `adapters`: low-rank updates of every matrix (LoRA, Hu et al., 2021), the encoder's own weights frozen;
- `three-layers`: the encoder's first, third and fifth layer;
- `distilled`: the same three layers, which also learn from the reranker that is shipped.

Prints a line of JSON for each. A run is repeated, not resumed: it takes minutes.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import BertForSequenceClassification

import trivet.starter
from research.reranker.mined import read_mined
from research.reranker.ranking_loss import RankingLoss
from research.reranker.train import TEACHING, encode_groups, split
from research.training.base_model import load_base, load_trained
from research.training.batches import Batch, Group, PairTokenizer
from research.training.datasets import read_qnli
from research.training.first_token import first_token_logits
from research.training.loop import LoopSettings, Loss, fit
from research.training.runtime import seed_everything, tune_process
from research.training.scoring import score
from trivet.starter.assemble import assemble

KEPT_LAYERS = (0, 2, 4)
ADAPTER_RANK = 16
DISTILLATION_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """A model to train, and how fast it may learn."""

    make: Callable[[], BertForSequenceClassification]
    peak_lr: float
    distilled: bool = False


def three_layers() -> BertForSequenceClassification:
    """The base encoder without every second layer."""
    model = load_base(num_labels=1)
    model.bert.encoder.layer = nn.ModuleList(model.bert.encoder.layer[at] for at in KEPT_LAYERS)
    model.config.num_hidden_layers = len(KEPT_LAYERS)
    return model


def with_adapters() -> BertForSequenceClassification:
    """The base encoder, frozen, with a low-rank update beside each matrix of its layers; the head learns whole."""
    from peft import LoraConfig, inject_adapter_in_model  # the extra `training`; nothing else here needs it

    model = load_base(num_labels=1)
    matrices = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
    config = LoraConfig(r=ADAPTER_RANK, lora_alpha=2 * ADAPTER_RANK, target_modules=matrices)
    adapted: BertForSequenceClassification = inject_adapter_in_model(config, model)
    for part in (adapted.classifier, adapted.bert.pooler):
        part.requires_grad_(True)
    return adapted


VARIANTS = {
    "full": Variant(lambda: load_base(num_labels=1), 3e-4),
    "adapters": Variant(with_adapters, 2e-3),
    "three-layers": Variant(three_layers, 4e-4),
    "distilled": Variant(three_layers, 4e-4, distilled=True),
}


class DistillationLoss:
    """A loss, plus the binary cross-entropy to what a trained reranker says of the same pairs."""

    def __init__(self, loss: Loss, teacher: BertForSequenceClassification) -> None:
        self._loss = loss
        self._teacher = teacher.eval()

    def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            said = first_token_logits(self._teacher, **batch.model_inputs()).float()[:, 0].sigmoid()  # (B,)
        imitation = functional.binary_cross_entropy_with_logits(logits[:, 0], said)
        return self._loss(logits, batch) + DISTILLATION_WEIGHT * imitation


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads)
    kept, _ = split(read_mined(args.data / "qnli-groups.jsonl.gz"))
    groups = encode_groups(PairTokenizer(args.max_tokens), [g.pairs() for g in kept], "qnli")
    dev = read_qnli(args.data / "qnli-dev.tsv.gz")
    sequences = PairTokenizer(512).encode(dev)
    targets = np.array([pair.target > 0.5 for pair in dev])
    with TemporaryDirectory() as cache:
        teacher = load_trained(assemble(Path(trivet.starter.__file__).parent / "reranker", Path(cache)))
    for name in args.variants:
        variant = VARIANTS[name]
        seed_everything(args.seed)
        model = variant.make()
        loss: Loss = RankingLoss(teaching=TEACHING)
        if variant.distilled:
            loss = DistillationLoss(loss, teacher)

        def evaluate(model: BertForSequenceClassification) -> dict[str, float]:
            started = time.perf_counter()
            logits = score(model, sequences)[:, 0]
            taken_s = time.perf_counter() - started
            return {"accuracy": float(((logits > 0) == targets).mean()), "pairs_per_s": len(dev) / taken_s}

        settings = LoopSettings(epochs=args.epochs, peak_lr=variant.peak_lr, seed=args.seed, evaluations=1)
        with TemporaryDirectory() as run_dir:
            result = fit(
                model, groups, loss=loss, evaluate=evaluate, metric="accuracy", settings=settings, run_dir=Path(run_dir)
            )
        print(json.dumps({"variant": name, **_described(model, groups, result.steps), **result.best_metrics}))


def _described(model: BertForSequenceClassification, groups: list[Group], steps: int) -> dict[str, float]:
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"steps": steps, "groups": len(groups), "parameters_learned": learned}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("research/data"), help="folder of the data sets")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--epochs", type=float, default=0.25, help="passes over QNLI for each variant")
    parser.add_argument("--max-tokens", type=int, default=112)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()
