"""Numbers that are not finite: what a model computes of damaged weights, or beyond the range of its precision. Pure."""

import numpy as np
from numpy.typing import NDArray

from trivet.messages import Floats

NOT_FINITE = (
    "the model computed a number that is not finite (NaN or infinity): its weights or its config.json are damaged, or "
    "its numbers exceed the range of this precision, and a wider one, such as fp32, may help"
)


def broken_rows(outputs: Floats) -> NDArray[np.bool_] | None:
    """For each row of (rows, numbers), whether a number in it is not finite; None if all are finite."""
    finite = np.isfinite(outputs)
    if finite.all():
        return None
    broken: NDArray[np.bool_] = ~np.all(finite, axis=-1)
    return broken
