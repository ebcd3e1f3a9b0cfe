"""Figures for classification, in numpy: macro-F1, confusion, calibration, temperature, thresholds."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def confusion(gold: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Rows are the true labels, columns the predicted ones.  # (labels, labels) int64"""
    table = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(table, (gold, predicted), 1)
    return table


def f1_scores(table: np.ndarray) -> np.ndarray:
    """F1 of each label of a confusion matrix; 0 where a label neither occurs nor is predicted.  # (labels,)"""
    hits = np.diag(table).astype(float)
    support = table.sum(axis=0) + table.sum(axis=1)
    return np.divide(2 * hits, support, out=np.zeros_like(hits), where=support > 0)


def expected_calibration_error(probabilities: np.ndarray, gold: np.ndarray, bins: int = 15) -> float:
    """Mean gap between the confidence of the top label and how often it is right, weighted by bin size."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (index == b).mean() * abs(confidence[index == b].mean() - right[index == b].mean())
        for b in range(bins)
        if (index == b).any()
    ]
    return float(sum(gaps))


def fit_temperature(logits: np.ndarray, gold: np.ndarray) -> float:
    """The T that minimises the log loss of softmax(logits / T).  # logits (N, L), gold (N,)"""

    def log_loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        top = scaled.max(axis=1)
        normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((normaliser - scaled[np.arange(len(gold)), gold]).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3.0, 3.0), method="bounded").x))


def threshold_for_precision(probabilities: np.ndarray, gold: np.ndarray, precision: float) -> float:
    """The lowest confidence, in steps of 0.01, from which the answers above it are right at least that often."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold
    for threshold in np.arange(1 / probabilities.shape[1], 1.0, 0.01):
        kept = confidence >= threshold
        if kept.any() and right[kept].mean() >= precision:
            return float(round(threshold, 2))
    return 1.0
