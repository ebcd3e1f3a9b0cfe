"""How far served numbers are from the reference's, and whether that is more than the precision explains. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.messages import Floats

Numbers = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least agreement of one precision."""

    cosine: float
    """Of two vectors."""
    score_difference: float
    """Of two scores between 0 and 1."""
    rank_agreement: float
    """Of two orders; see `rank_agreement`."""


BOUNDS: dict[str, Bounds] = {
    "fp32": Bounds(cosine=0.9999, score_difference=0.001, rank_agreement=0.999),
    "fp16": Bounds(cosine=0.995, score_difference=0.05, rank_agreement=0.95),
    "bf16": Bounds(cosine=0.99, score_difference=0.05, rank_agreement=0.95),
    "int8": Bounds(cosine=0.95, score_difference=0.15, rank_agreement=0.85),
}
"""By precision. A graph or a setting that is wrong is far beyond them: its cosines are near 0."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One kind of number, compared on all texts that both sides read whole."""

    what: str
    """Such as `vectors` or `logits`."""
    compared: int
    """Texts, pairs or texts times labels."""
    cosine: float | None
    """The smallest of two vectors; None where the numbers are no vectors."""
    difference: float
    """The largest of two numbers."""
    rank_agreement: float
    """Of the order in which the numbers, or the products of the vectors, put the texts."""
    problems: tuple[str, ...]
    """What exceeds the bounds."""

    @property
    def agrees(self) -> bool:
        """Whether everything is within the bounds."""
        return not self.problems


def compare_vectors(what: str, served: Sequence[Floats], reference: Sequence[Floats], bounds: Bounds) -> Agreement:
    """Compare the vectors of texts, or of their tokens.

    Args:
        what: their name.
        served: of each text (dimensions,) or (tokens, dimensions).
        reference: the same by the reference.
        bounds: of the precision.
    """
    ours, theirs = [np.atleast_2d(one) for one in served], [np.atleast_2d(one) for one in reference]
    for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if one.shape != other.shape:
            problem = f"text {at} has {one.shape[0]} vectors of {one.shape[1]} numbers, the reference {other.shape}"
            return Agreement(what, len(ours), 0.0, float("inf"), 0.0, (problem,))
    a, b = np.concatenate(ours).astype(np.float64), np.concatenate(theirs).astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = float(np.min((a * b).sum(axis=1) / np.maximum(lengths, 1e-12)))
    first = slice(0, min(len(a), 200))
    order = rank_agreement(_products(a[first]), _products(b[first]))
    problems = [*_below("cosine", cosine, bounds.cosine), *_below("rank agreement", order, bounds.rank_agreement)]
    return Agreement(what, len(ours), cosine, _largest(a - b), order, tuple(problems))


def compare_scores(what: str, served: Floats, reference: Floats, bounds: Bounds) -> Agreement:
    """Compare scores between 0 and 1, (rows, columns): each row is one order."""
    difference = _largest(served - reference)
    order = min(rank_agreement(a, b) for a, b in zip(served, reference, strict=True))
    problems = [*_above("difference", difference, bounds.score_difference)]
    return Agreement(what, served.size, None, difference, order, tuple(problems))


def compare_logits(what: str, served: Floats, reference: Floats, bounds: Bounds) -> Agreement:
    """Compare logits, (rows, columns): each row is one order. Their size is the model's, so only orders are bounded."""
    difference = _largest(served - reference)
    order = min(rank_agreement(a, b) for a, b in zip(served, reference, strict=True))
    problems = _below("rank agreement", order, bounds.rank_agreement)
    if np.isinf(difference):  # a number that is none has a rank all the same
        problems.append("not all numbers are finite")
    return Agreement(what, served.size, None, difference, order, tuple(problems))


def rank_agreement(served: Numbers, reference: Numbers) -> float:
    """Return Spearman's rank correlation of two lists of numbers; 1 where the reference sees no difference.

    Numbers of the reference that are equal but for rounding count as equal.
    """
    apart = np.ptp(reference)
    if len(reference) < 2 or apart < 1e-6:
        return 1.0
    rounded = np.round(reference / apart, 4)
    ours, theirs = _ranks(np.round(served / apart, 4)), _ranks(rounded)
    if np.ptp(ours) == 0:
        return 0.0
    return float(np.corrcoef(ours, theirs)[0, 1])


def _ranks(values: Numbers) -> Numbers:
    """Mean ranks: equal values share one."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Numbers = (ends - (counts - 1) / 2)[where]
    return ranks


def _products(vectors: Numbers) -> Numbers:
    """The cosine of every two vectors."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    products: Numbers = (unit @ unit.T)[np.triu_indices(len(unit), k=1)]
    return products


def _largest(difference: Numbers) -> float:
    return float(np.abs(difference).max()) if np.isfinite(difference).all() else float("inf")


def _below(name: str, found: float, least: float) -> list[str]:
    return [] if found >= least else [f"{name} {found:.4f} is below {least:g}"]


def _above(name: str, found: float, most: float) -> list[str]:
    return [] if found <= most else [f"{name} {found:.4f} is above {most:g}"]
