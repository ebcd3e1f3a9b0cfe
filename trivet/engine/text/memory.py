"""Returns memory to the system that the C library keeps after a long text was tokenised."""

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Return free memory of all threads; takes milliseconds. Does nothing where the C library is not glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
