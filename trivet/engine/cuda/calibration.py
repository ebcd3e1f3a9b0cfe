"""Finds how many tokens a GPU computes within a given time. Pure: the caller measures."""

from collections.abc import Callable

from trivet.engine.backend import BackendOutOfMemory


def tokens_within(target_s: float, seconds: Callable[[int], float], *, least: int, most: int) -> int:
    """Return the tokens of a forward that takes `target_s`, between `least` and `most`.

    Sizes are doubled until one takes longer or does not fit; between the last two, time is taken to be linear.

    Args:
        target_s: longest time of one forward, in seconds.
        seconds: measures a forward of so many tokens; may raise `BackendOutOfMemory`.
        least: returned even if it takes longer, unmeasured if it does not fit.
        most: the largest size that is tried.
    """
    fitting, fitting_s = least, 0.0
    size = least
    while True:
        try:
            took_s = seconds(size)
        except BackendOutOfMemory:
            return fitting
        if took_s > target_s:
            if size == least:
                return least
            share = (target_s - fitting_s) / (took_s - fitting_s)
            return fitting + int(share * (size - fitting))
        fitting, fitting_s = size, took_s
        if size == most:
            return most
        size = min(2 * size, most)
