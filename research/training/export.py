"""Write a trained model as what the repository ships: `delta.safetensors` and `model.json`."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file
from transformers import BertForSequenceClassification

from trivet.starter.assemble import BASE_FILES, base_tensors
from trivet.starter.base import BASE_DISTRIBUTION, base_model_dir, sha256_of
from trivet.starter.card import BaseReference, StarterCard
from trivet.starter.delta import encode_delta

SIZE_LIMIT_BYTES = 11_000_000  # two such models stay well inside what the repository may carry


def export_delta(
    model: BertForSequenceClassification,
    directory: Path,
    *,
    task: Literal["reranker", "classifier"],
    model_version: str,
    id2label: Mapping[int, str],
    head_scale: float = 1.0,
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> StarterCard:
    """Quantise `model` against the base encoder and write it with its card into `directory`.

    Args:
        model: the trained model; its frozen tables must be the base's.
        directory: receives `delta.safetensors` and `model.json`.
        task: which starter model this is.
        model_version: human-readable version, for the card.
        id2label: label of every output.
        head_scale: multiplies the head's weights and bias. The inverse of a calibration temperature belongs here,
            so that the loaded model's scores are calibrated without a separate temperature.
        config: further entries for config.json.
        metrics: measured figures, for the card.
    """
    base = base_model_dir()
    trained = {name: p.detach().float().numpy() for name, p in model.named_parameters()}
    for name in ("classifier.weight", "classifier.bias"):
        trained[name] = trained[name] * np.float32(head_scale)
    encoded = encode_delta(base_tensors(base), trained)

    directory.mkdir(parents=True, exist_ok=True)
    delta = directory / "delta.safetensors"
    save_file(encoded, delta)
    delta.chmod(0o644)  # safetensors writes files that only their owner may read
    size_bytes = delta.stat().st_size
    if size_bytes > SIZE_LIMIT_BYTES:
        raise ValueError(f"{delta} has {size_bytes:,} bytes; at most {SIZE_LIMIT_BYTES:,} may be shipped")
    card = StarterCard(
        task=task,
        version=model_version,
        base=BaseReference(
            distribution=BASE_DISTRIBUTION,
            version=version(BASE_DISTRIBUTION),
            sha256={name: sha256_of(base / name) for name in BASE_FILES},
        ),
        delta_sha256=sha256_of(delta),
        id2label=dict(id2label),
        config=dict(config or {}),
        metrics=dict(metrics or {}),
    )
    write_card(card, directory)
    return card


def write_card(card: StarterCard, directory: Path) -> None:
    """Write `model.json`; used again when metrics of the assembled model are known."""
    (directory / "model.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
