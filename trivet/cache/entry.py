"""What is kept of one input's result."""

from dataclasses import dataclass

import numpy as np

from trivet.config import Lane
from trivet.messages import Floats

OVERHEAD_BYTES = 800
"""What an entry costs in memory besides its values: key, array header, fields, two places in tables. Measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One input's numbers and account. `values` is one-dimensional float32; what it holds depends on the task."""

    values: Floats
    tokens: int
    windows: int
    truncated: bool
    sequences_per_window: int
    lane: Lane
    device: str
    """Where it was computed."""

    @property
    def size_bytes(self) -> int:
        """Memory it takes, its key included."""
        return self.values.nbytes + OVERHEAD_BYTES


def own_values(*values: Floats) -> Floats:
    """A compact copy: a view would keep the whole batch in memory that it was computed in."""
    owned: Floats = np.concatenate(values, dtype=np.float32)
    owned.flags.writeable = False
    return owned
