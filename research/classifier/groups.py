"""The groups that pairs of texts are shown in: one pair under several hypotheses, or several pairs under one."""

from __future__ import annotations

import random
from collections.abc import Sequence

from research.classifier.data import ENTAILED, NOT_ENTAILED, Example, Rows, _verdict, wording
from research.classifier.wordings import pair_premise
from research.training.batches import TextPair

Texts = tuple[str, str]


def relation(texts: Texts, true: str, false: Sequence[str], rng: random.Random, source: str) -> Example:
    """A pair under the hypothesis of its relation, and under those of others."""
    hypotheses = [(wording(true, rng), ENTAILED), *((wording(label, rng), NOT_ENTAILED) for label in false)]
    return Example(pair_premise(*texts), tuple(hypotheses), source)


def no_relation(texts: Texts, label: str, rng: random.Random, source: str) -> Example:
    """A pair that has not the relation, whatever else it has."""
    return Example(pair_premise(*texts), ((wording(label, rng), NOT_ENTAILED),), source)


def which(label: str, true: Texts, false: Texts, rng: random.Random, source: str) -> Rows:
    """Two pairs under one hypothesis, of which the first has the relation."""
    hypothesis = wording(label, rng)
    rows = (
        TextPair(pair_premise(*true), hypothesis, ENTAILED),
        TextPair(pair_premise(*false), hypothesis, NOT_ENTAILED),
    )
    return Rows(rows, source)


def verdicts(texts: Texts, true: str, rng: random.Random, source: str) -> Example:
    """A pair under the three verdicts of inference."""
    false = [label for label in ("entailment", "neutral", "contradiction") if label != true]
    hypotheses = [(_verdict(true, rng), ENTAILED), *((_verdict(label, rng), NOT_ENTAILED) for label in false)]
    return Example(pair_premise(*texts), tuple(hypotheses), source)
