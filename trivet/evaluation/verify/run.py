"""Runs one configured model as it is served, then its reference on the same texts, and compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trivet.config import AppConfig, Lane, Task
from trivet.engine.open import PreparedModel, prepare_model
from trivet.evaluation.verify.agreement import (
    BOUNDS,
    Agreement,
    Bounds,
    compare_logits,
    compare_scores,
    compare_vectors,
)
from trivet.evaluation.verify.reference import NoReference, Reference
from trivet.evaluation.verify.served import Answered, Served
from trivet.evaluation.verify.texts import LABELS, QUERIES, TEMPLATE, fitting
from trivet.messages import Floats

_LEAST_TEXTS = 2
"""One text has no order."""
SINGLE_LABEL, MULTI_LABEL = "scores, one label", "scores, several labels"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one model."""

    task: Task
    model: str
    device: str
    precision: str
    reference: str | None
    """The class that was compared with; None if there is none."""
    agreements: tuple[Agreement, ...]
    windowed: int
    """Texts that were read in several windows, and so are not compared."""
    served_per_s: float
    """Texts a second, or pairs of a text with a query or label."""
    reference_per_s: float
    no_reference: str = ""
    """Why there is none."""

    @property
    def agrees(self) -> bool:
        """Whether nothing is beyond its bounds. A model without a reference has not been refuted."""
        return all(one.agrees for one in self.agreements)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Numbers of one kind, as served."""

    what: str
    answered: Answered


def verify_model(config: AppConfig, task: Task, lane: Lane, texts: Sequence[str]) -> Verdict:
    """Compare one model.

    Raises:
        ModelError: it cannot be served.
    """
    prepared = prepare_model(config, task)
    with Served(config, prepared, lane) as served:
        asked = list(_ask(served, prepared, texts))
        device, precision = served.engine.device, served.engine.card.precision
    windows = np.maximum.reduce([one.answered.windows for one in asked])
    whole = fitting(texts, windows.tolist())
    per_text = len(LABELS) if task == "classifier" else len(QUERIES) if task == "reranker" else 1
    seconds = sum(one.answered.seconds for one in asked)
    verdict = Verdict(
        task=task,
        model=prepared.source.name,
        device=device,
        precision=precision,
        reference=None,
        agreements=(),
        windowed=len(texts) - len(whole),
        served_per_s=len(asked) * len(texts) * per_text / seconds,
        reference_per_s=0.0,
    )
    if len(whole) < _LEAST_TEXTS:
        return replace(verdict, no_reference="fewer than two of the texts are read in one window")
    try:
        reference = Reference(prepared.files, "cuda" if lane == "gpu" else "cpu")
    except NoReference as error:
        return replace(verdict, no_reference=str(error))
    chosen = [texts[at] for at in whole]
    _refer(reference, asked[0].what, chosen[:1])  # what is served has been warmed up, too
    agreements = []
    took_s = 0.0
    for one in asked:
        numbers, seconds = _refer(reference, one.what, chosen)
        took_s += seconds
        agreements.append(_compare(one, whole, numbers, task, BOUNDS[precision]))
    return replace(
        verdict,
        reference=reference.name,
        agreements=tuple(agreements),
        reference_per_s=len(asked) * len(chosen) * per_text / took_s,
    )


def _ask(served: Served, prepared: PreparedModel, texts: Sequence[str]) -> list[_Asked]:
    files = prepared.files
    if files.task == "reranker":
        return [_Asked("logits", served.logits(QUERIES, texts))]
    if files.task == "classifier":
        return [
            _Asked(name, served.scores(texts, LABELS, TEMPLATE, multi_label=name == MULTI_LABEL))
            for name in (SINGLE_LABEL, MULTI_LABEL)
        ]
    if files.late is not None:
        return [_Asked("vectors of tokens", served.tokens(texts))]
    if files.is_splade:
        return [_Asked("sparse weights", served.sparse(texts, files.architecture.vocab_size))]
    return [_Asked("vectors", served.vectors(texts))]


def _refer(reference: Reference, what: str, texts: Sequence[str]) -> tuple[list[Floats], float]:
    match what:
        case "logits":
            return reference.logits(QUERIES, texts)
        case "vectors of tokens":
            return reference.tokens(texts)
        case "sparse weights":
            return reference.sparse(texts)
        case "vectors":
            return reference.vectors(texts)
    return reference.scores(texts, LABELS, TEMPLATE, multi_label=what == MULTI_LABEL)


def _compare(asked: _Asked, whole: Sequence[int], reference: list[Floats], task: Task, bounds: Bounds) -> Agreement:
    numbers = asked.answered.numbers
    if task == "reranker":
        served = np.stack(numbers)[:, list(whole)]
        return compare_logits(asked.what, served, np.stack(reference), bounds)
    numbers = [numbers[at] for at in whole]
    if task == "classifier":
        return compare_scores(asked.what, np.stack(numbers), np.stack(reference), bounds)
    return compare_vectors(asked.what, numbers, reference, bounds)
