"""Score label sets the way they are served: one hypothesis per label, softmax over the entailment logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from transformers import BertForSequenceClassification

from research.classifier.loss import ENTAILMENT
from research.training.batches import PairTokenizer, TextPair
from research.training.scoring import score


def entailment_logits(
    model: BertForSequenceClassification,
    premises: Sequence[str],
    hypotheses: Sequence[str],
    *,
    max_tokens: int = 512,
    bf16: bool = True,
) -> np.ndarray:
    """Entailment logit of every premise with every hypothesis.  # (N, L) float32"""
    pairs = [TextPair(premise, hypothesis, 0.0) for premise in premises for hypothesis in hypotheses]
    logits = score(model, PairTokenizer(max_tokens).encode(pairs), bf16=bf16)  # (N * L, 2)
    return logits[:, ENTAILMENT].reshape(len(premises), len(hypotheses))


def label_logits(
    model: BertForSequenceClassification,
    premises: Sequence[str],
    hypotheses: Mapping[str, str],
    **options: bool | int,
) -> tuple[list[str], np.ndarray]:
    """The labels in their order, and the entailment logits in that order.  # (N, L)"""
    return list(hypotheses), entailment_logits(model, premises, list(hypotheses.values()), **options)  # type: ignore[arg-type]
