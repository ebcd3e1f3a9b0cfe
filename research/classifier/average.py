"""Export the best mean of runs' weights: `python -m research.classifier.average OLD NEW… --run-dir …`.

A run on something new forgets some of the old. Between the weights of before and after lies a model that keeps most of
both, as long as the second run began at the first. Several runs from there count equally. How much of what is new is
best is decided on dev pairs, the captions that watch the training, and conflicts in dev texts; never on a test row.
The temperature is fitted on the same dev pairs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from research.classifier.train import ID2LABEL, MODEL_VERSION, SHIPPED, Watching, measure
from research.reranker.average import mean
from research.training.base_model import initial_weights, load_base
from research.training.export import export_delta


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="checkpoint.pt that the second run began from, or `shipped`")
    parser.add_argument("new", nargs="+", help="checkpoint.pt of the run that followed, or of several")
    parser.add_argument(
        "--shares", default="0.7,0.85,1", help="how much of the mean is the new weights: one or several to choose from"
    )
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--prepared", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument("--dev-per-label", type=int, default=300, help="dev pairs of each relation that decide")
    args = parser.parse_args()
    torch.set_num_threads(1)
    old, new = initial_weights(args.old, SHIPPED), mean([initial_weights(path, SHIPPED) for path in args.new])
    model = load_base(num_labels=2).eval()
    watching = Watching.read(args.data, args.prepared, args.dev_per_label)
    best: dict[str, float] = {}
    for share in map(float, args.shares.split(",")):
        model.load_state_dict(average(old, new, share), strict=False)
        metrics = {"share": share, **measure(model, watching)}
        print(json.dumps(metrics), flush=True)
        if not best or metrics["mean"] > best["mean"]:
            best = metrics
    model.load_state_dict(average(old, new, best["share"]), strict=False)
    export_delta(
        model,
        args.run_dir / "export",
        task="classifier",
        model_version=MODEL_VERSION,
        id2label=ID2LABEL,
        head_scale=1.0 / best["temperature"],
        metrics={"dev": best},
    )


def average(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """`share` of the new weights plus the rest of the old ones, name by name."""
    return {name: share * weight + (1 - share) * old[name] for name, weight in new.items()}


if __name__ == "__main__":
    main()
