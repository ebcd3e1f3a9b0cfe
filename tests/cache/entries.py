"""Entries for the stores."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from trivet.cache.entry import Entry


def entry(number: int = 0, width: int = 8) -> Entry:
    """An entry that differs from those of other numbers."""
    return Entry(np.full(width, number, dtype=np.float32), number, 1, False, 1, "cpu", "cpu (fake)")


def key(number: int) -> bytes:
    """A key like the real ones."""
    return number.to_bytes(32, "little")


entries = st.builds(
    Entry,
    values=numpy_st.arrays(np.float32, st.integers(0, 40)),
    tokens=st.integers(0, 2**32 - 1),
    windows=st.integers(0, 2**32 - 1),
    truncated=st.booleans(),
    sequences_per_window=st.integers(0, 2**16 - 1),
    lane=st.sampled_from(["cpu", "gpu"]),
    device=st.text(max_size=40),
)


def fields_of(some: Entry) -> tuple[object, ...]:
    """What makes two entries the same, bit for bit."""
    return (
        some.values.tobytes(),
        some.tokens,
        some.windows,
        some.truncated,
        some.sequences_per_window,
        some.lane,
        some.device,
    )
