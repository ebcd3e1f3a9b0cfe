"""Export the mean of a run's checkpoints: `python -m research.reranker.average CHECKPOINT… --out FOLDER`.

While the rate is high, weights wander around what they settle on when it falls; their mean is nearer to that than any
of them. Copies of `checkpoint.pt` from the end of one run go in. The temperature is fitted on held-back QNLI rows.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from research.reranker.train import SHIPPED, export, held_back_groups, measure
from research.training.base_model import initial_weights, load_base, quiet_transformers
from research.training.runtime import tune_process


def main() -> None:
    args = _arguments()
    tune_process(threads=args.threads)
    quiet_transformers()
    held_back = held_back_groups(args.data, args.sources, max_tokens=args.max_tokens)
    states = [initial_weights(path, SHIPPED) for path in args.checkpoints]
    model = load_base(num_labels=1)
    model.load_state_dict(mean(states), strict=False)
    metrics = measure(model, held_back)
    print(json.dumps(metrics))
    export(model, metrics, held_back, args.out)


def mean(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each tensor that all have, name by name (a shipped model has the frozen ones, too)."""
    names = set.intersection(*(set(state) for state in states))
    return {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in sorted(names)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", help="checkpoint.pt of runs, or `shipped`")
    parser.add_argument("--out", type=Path, required=True, help="receives delta.safetensors and model.json")
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--sources", nargs="+", default=["qnli", "code", "boolq"])
    parser.add_argument("--max-tokens", type=int, default=192, help="the training's")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
