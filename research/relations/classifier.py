"""Ask a Hugging Face classifier hypotheses about texts, the way Trivet serves them.

Kept apart from the engine on purpose: a benchmark that scored a model through the code under test could not tell a
fault of the one from a fault of the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from research.relations.hypotheses import PAIR_TEMPLATE, RELATION_HYPOTHESES
from research.relations.pairs import LABELS

MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Classifier:
    """A loaded classifier: which of its outputs means entailment, and how to run it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    entailment: int
    bf16: bool


def starter_dir() -> Path:
    """The shipped classifier, put together in the user's cache."""
    from trivet.starter import prepare_starter

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trivet" / "models"
    return prepare_starter("classifier", cache)


def load_classifier(directory: Path, *, threads: int = 1, bf16: bool = True) -> Classifier:
    torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    labels = {str(name).lower(): int(index) for index, name in model.config.id2label.items()}
    if "entailment" not in labels:
        raise SystemExit(f"{directory} has the outputs {sorted(labels)}; one of them has to be called entailment")
    return Classifier(model, AutoTokenizer.from_pretrained(directory), labels["entailment"], bf16)


def entailment_logits(
    classifier: Classifier, premises: Sequence[str], hypotheses: Sequence[str], *, token_budget: int = 4096
) -> np.ndarray:
    """Entailment logit of every premise with every hypothesis; batches by length.  # (N, H) float32"""
    texts = [(premise, hypothesis) for premise in premises for hypothesis in hypotheses]
    rough = [len(premise) + len(hypothesis) for premise, hypothesis in texts]
    order = sorted(range(len(texts)), key=lambda i: -rough[i])
    logits = np.zeros(len(texts), dtype=np.float32)
    start = 0
    while start < len(order):
        rows = max(1, token_budget // min(MAX_TOKENS, rough[order[start]] // 3 + 8))
        chosen = order[start : start + rows]
        batch = classifier.tokenizer(
            [texts[i][0] for i in chosen],
            [texts[i][1] for i in chosen],
            padding=True,
            truncation="longest_first",
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=classifier.bf16):
            out = classifier.model(**batch).logits  # (rows, labels)
        logits[chosen] = out[:, classifier.entailment].float().numpy()
        start += rows
    return logits.reshape(len(premises), len(hypotheses))


def pair_logits(
    classifier: Classifier, pairs: Sequence[tuple[str, str]], hypotheses: Mapping[str, str] = RELATION_HYPOTHESES
) -> np.ndarray:
    """Entailment logits of pairs, labels in the order of LABELS (or of the given mapping).  # (N, L)"""
    ordered = [hypotheses[label] for label in (LABELS if set(LABELS) == set(hypotheses) else hypotheses)]
    premises = [PAIR_TEMPLATE.format(first=first, second=second) for first, second in pairs]
    return entailment_logits(classifier, premises, ordered)
