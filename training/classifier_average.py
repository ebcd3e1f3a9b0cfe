"""Export the mean of two runs' weights: `python -m training.classifier_average OLD.pt NEW.pt --share 0.7 --run-dir …`.

A run on something new forgets some of the old. Between the weights of before and after lies a model that keeps most of
both, as long as the second run began at the first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from bench.relations.assemble import balance
from bench.relations.pairs import read_pairs
from training.base_model import load_base
from training.classifier import DEV_PER_LABEL, ID2LABEL, MODEL_VERSION, measure
from training.classifier_data import snli_training_rows
from training.export import export_delta


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="checkpoint.pt that the second run began from")
    parser.add_argument("new", type=Path, help="checkpoint.pt of the second run")
    parser.add_argument("--share", type=float, default=0.7, help="how much of the mean is the new weights")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--prepared", type=Path, default=Path("training/runs/classifier-data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    old, new = (torch.load(path, weights_only=True)["model"] for path in (args.old, args.new))
    model = load_base(num_labels=2)
    model.load_state_dict(average(old, new, args.share), strict=False)
    relations = balance(read_pairs(args.prepared / "dev.jsonl.gz"), DEV_PER_LABEL)
    metrics = measure(model.eval(), relations, snli_training_rows(args.data, dev=True))
    print(json.dumps(metrics))
    export_delta(
        model,
        args.run_dir / "export",
        task="classifier",
        model_version=MODEL_VERSION,
        id2label=ID2LABEL,
        head_scale=1.0 / metrics["temperature"],
        metrics={"dev": metrics},
    )


def average(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """`share` of the new weights plus the rest of the old ones, name by name."""
    return {name: share * weight + (1 - share) * old[name] for name, weight in new.items()}


if __name__ == "__main__":
    main()
