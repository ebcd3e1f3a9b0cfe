"""Finds how many tokens a GPU computes within a given time. Pure: the caller measures."""

from collections.abc import Callable
from typing import Final

from trivet.engine.backend import BackendOutOfMemory

_COMPUTE_BOUND: Final = 1.5
"""A forward of twice the tokens takes at least this many times as long where the GPU's computing takes the time. Where
launching does, or something else on the host, it takes about as long."""


def tokens_within(target_s: float, seconds: Callable[[int], float], *, least: int, most: int) -> int:
    """Return the tokens of a forward that takes `target_s`, between `least` and `most`.

    Sizes are doubled until two in a row take longer, the second in proportion, or one does not fit. So neither a single
    disturbed measurement nor a host that launches slowly ends the search: batches are replayed as graphs later. The
    time of the last size is then taken to be in proportion to its tokens.

    Args:
        target_s: longest time of one forward, in seconds.
        seconds: measures a forward of so many tokens; may raise `BackendOutOfMemory`.
        least: returned even if it takes longer, unmeasured if it does not fit.
        most: the largest size that is tried.
    """
    fitting = least
    slow: tuple[int, float] | None = None
    size = least
    while True:
        try:
            took_s = seconds(size)
        except BackendOutOfMemory:
            break
        if took_s <= target_s:
            fitting, slow = size, None
        else:
            is_compute_bound = slow is not None and took_s >= _COMPUTE_BOUND * slow[1]
            slow = size, took_s
            if is_compute_bound:
                break
        if size == most:
            break
        size = min(2 * size, most)
    if slow is None:
        return fitting
    size, took_s = slow
    return max(fitting, int(size * target_s / took_s))
