"""Turns raw outputs into results: activations, normalisation, one vector from several windows. Needs numpy alone."""

from collections.abc import Sequence

import numpy as np

from trivet.messages import Floats


def sigmoid(logits: Floats) -> Floats:
    """Return the logistic function of each element, without overflow at either end."""
    positive = logits >= 0
    decayed = np.exp(np.where(positive, -logits, logits))
    result: Floats = np.where(positive, 1.0 / (1.0 + decayed), decayed / (1.0 + decayed)).astype(np.float32)
    return result


def softmax(logits: Floats) -> Floats:
    """Return the softmax over the last axis, shifted by the maximum so that it cannot overflow."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
    return result


def l2_normalize(vectors: Floats) -> Floats:
    """Scale each row to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Floats = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return result


def pool_windows(vectors: Floats, window_tokens: Sequence[int]) -> Floats:
    """Return the token-weighted mean of one text's window vectors, (windows, H) → (H,).

    With mean pooling inside each window this is the mean over all tokens of the text, those in overlaps counted twice.
    The vector of a single window is returned bit for bit.
    """
    if len(vectors) == 1:
        only: Floats = vectors[0]
        return only
    weights = np.asarray(window_tokens, dtype=np.float64)
    pooled: Floats = (weights @ vectors.astype(np.float64) / weights.sum()).astype(np.float32)
    return pooled
