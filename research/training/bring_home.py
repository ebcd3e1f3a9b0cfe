"""Make the model that ships from what `on_card` wrote: `python -m research.training.bring_home --task … --files DIR …`.

Mixes the new weights with the shipped ones where that measures better on rows that watch the training, fits the
temperature there, and writes `delta.safetensors` and `model.json`. No row of an evaluation set is read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

import research.classifier.train as classifier
import research.reranker.train as reranker
from research.classifier.average import average
from research.training.base_model import initial_weights, load_base
from research.training.batches import PairSequence
from research.training.calibration import fit_temperature
from research.training.export import export_delta
from research.training.packed import Pool, Ragged, joined, pad_rows, read_arrays
from research.training.runtime import tune_process
from research.training.scoring import score

VERSIONS = {"classifier": classifier.MODEL_VERSION, "reranker": "5"}


def read_parts(folder: Path, task: str) -> dict[str, torch.Tensor]:
    """The trained weights in fp32, from all parts of a task."""
    parts = sorted(folder.glob(f"{task}.*.safetensors"))
    if not parts:
        raise SystemExit(f"{folder} holds no {task}.1.safetensors …: nothing was trained there")
    return {name: value.float() for part in parts for name, value in load_file(part).items()}


def measure_classifier(model: BertForSequenceClassification, data: Path, prepared: Path) -> dict[str, float]:
    return classifier.measure(model, classifier.Watching.read(data, prepared, 150))


def measure_reranker(model: BertForSequenceClassification, packed: Path, limit: int = 1_500) -> dict[str, float]:
    """Accuracy and temperature on annotated QNLI pairs that the training on the card held back."""
    sequences = held_back_answers(packed, limit)
    logits = score(model, sequences)[:, 0]
    targets = np.array([s.target for s in sequences])
    accuracy = float(((logits > 0) == (targets > 0.5)).mean())
    return {"qnli_accuracy": accuracy, "mean": accuracy, "temperature": fit_temperature(logits, targets)}


def held_back_answers(packed: Path, limit: int) -> list[PairSequence]:
    """Annotated question-sentence pairs of the questions that `on_card` does not train on."""
    arrays = read_arrays(packed)
    pool = Pool(arrays["pool_ids"], arrays["pool_starts"])
    queries = Ragged(arrays["query_values"], arrays["query_starts"])
    documents = Ragged(arrays["document_values"], arrays["document_starts"])
    given = Ragged(arrays["given_documents"], arrays["given_starts"])
    held_back = arrays["held_back"]
    chosen = held_back[held_back < arrays["corpus_query_starts"][1]]  # QNLI is the first corpus
    targets = arrays["given_targets"][given.flat_index(chosen)][:limit]
    asking = np.repeat(chosen, given.sizes(chosen))[:limit]
    rows = pad_rows(pool, joined(queries.take(asking), documents.take(given.take(chosen).values[:limit])))
    return [
        PairSequence(ids[:length].astype(np.int32), int(first), float(target))
        for ids, length, first, target in zip(rows.ids, rows.lengths, rows.first_tokens, targets, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classifier", "reranker"), required=True)
    parser.add_argument("--files", type=Path, required=True, help="folder with what came back")
    parser.add_argument("--packed", type=Path, required=True, help="folder of the packed data")
    parser.add_argument("--out", type=Path, required=True, help="receives delta.safetensors and model.json")
    parser.add_argument("--shares", default="1,0.8,0.6", help="shares of the new weights to choose from")
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--prepared", type=Path, default=Path("research/runs/classifier-data"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    tune_process(threads=args.threads)
    task: Literal["classifier", "reranker"] = args.task
    module: Any = {"classifier": classifier, "reranker": reranker}[task]
    new = read_parts(args.files, task)
    old = initial_weights("shipped", module.SHIPPED)
    model = load_base(num_labels={"classifier": 2, "reranker": 1}[task]).eval()
    missing = {name for name, p in model.named_parameters() if p.requires_grad} - set(new)
    if missing:
        raise SystemExit(f"{args.files} lacks {sorted(missing)[:3]} …: a part has not come back")
    best: dict[str, float] = {}
    for share in map(float, args.shares.split(",")):
        model.load_state_dict(average(old, new, share), strict=False)
        if task == "classifier":
            figures = measure_classifier(model, args.data, args.prepared)
        else:
            figures = measure_reranker(model, args.packed / "reranker.xz")
        figures = {"share": share, **figures}
        print(json.dumps(figures), flush=True)
        if not best or figures["mean"] > best["mean"]:
            best = figures
    model.load_state_dict(average(old, new, best["share"]), strict=False)
    labels = {"classifier": classifier.ID2LABEL, "reranker": {0: "relevance"}}
    config = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}
    export_delta(
        model,
        args.out,
        task=task,
        model_version=VERSIONS[task],
        id2label=labels[task],
        head_scale=1.0 / best["temperature"],
        config=config if task == "reranker" else None,
        metrics={"dev": best},
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
