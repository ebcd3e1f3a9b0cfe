"""The cached result of one input."""

from dataclasses import dataclass

import numpy as np

from trivet.config import Lane
from trivet.messages import Floats

OVERHEAD_BYTES = 800
"""Memory of an entry besides its values: key, array header, fields, two places in tables. Measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One input's numbers and usage. `values` is one-dimensional float32; its meaning depends on the task."""

    values: Floats
    tokens: int
    windows: int
    truncated: bool
    sequences_per_window: int
    lane: Lane
    device: str
    """The device that computed it."""

    @property
    def size_bytes(self) -> int:
        """Memory taken, the key included."""
        return self.values.nbytes + OVERHEAD_BYTES


def compact_copy(*values: Floats) -> Floats:
    """Concatenate arrays into a read-only copy; a view would keep the memory of the whole batch alive."""
    copied: Floats = np.concatenate(values, dtype=np.float32)
    copied.flags.writeable = False
    return copied
