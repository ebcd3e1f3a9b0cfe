"""Which sequences lie side by side in one row of a packed forward. Pure.

A packed graph (`trivet.engine.openvino.export.packed`) computes B bins of one width. Wide bins are filled better,
narrow ones cost less attention; the width is the one at which the batch at hand costs least.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDEST = 512
"""Bins are wider only for a sequence that is longer."""
STEPS = ((64, 16), (128, 32))
"""Widths up to the first are multiples of the second; wider ones of `WIDEST_STEP`. A kernel is made for every shape
that is met, at the cost of 20 to 80 tokens."""
WIDEST_STEP = 64
ATTENTION_PER_WIDTH = 1 / 2000
"""What a token costs more per token of its bin's width, relative to a token in a bin of no width (bench/LOG.md)."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Sequences by bin, each as its index, in the order in which they lie there."""

    width: int
    sequences: list[list[int]]

    @property
    def tokens(self) -> int:
        """What the forward computes: bins × width."""
        return self.width * len(self.sequences)

    @property
    def cost(self) -> float:
        """In tokens of a bin of no width."""
        return self.tokens * (1 + ATTENTION_PER_WIDTH * self.width)


def pack(lengths: Sequence[int]) -> Bins:
    """The cheapest bins for sequences of these lengths."""
    narrowest = round_up(max(lengths))
    widest = max(narrowest, min(round_up(sum(lengths)), WIDEST))
    widths = {round_up(width) for width in range(narrowest, widest + 1, STEPS[0][1])}
    return min((_fill(lengths, width) for width in sorted(widths)), key=lambda bins: bins.cost)


def round_up(tokens: int) -> int:
    """To the next width."""
    step = next((step for most, step in STEPS if tokens <= most), WIDEST_STEP)
    return math.ceil(tokens / step) * step


def _fill(lengths: Sequence[int], width: int) -> Bins:
    """Best fit, longest first: each sequence goes where it leaves least room."""
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [at for at, free in enumerate(room) if free >= lengths[index]]
        if fitting:
            at = min(fitting, key=lambda one: room[one])
        else:
            at = len(bins)
            bins.append([])
            room.append(width)
        bins[at].append(index)
        room[at] -= lengths[index]
    return Bins(width, bins)
