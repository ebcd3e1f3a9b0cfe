"""Returns memory to the system that the C library keeps after a long text."""

import asyncio
import ctypes
from functools import cache
from typing import Any

_AFTER_S = 1.0
"""When a request has ended, its caller's message is still held for some milliseconds."""


class MemoryReturn:
    """Gives memory back within a second after the requests of much text, at most once a second."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Give back what is free in a second from now. Call it in the event loop."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AFTER_S, self._give_back)

    def close(self) -> None:
        """Give nothing back any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _give_back(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, give_back)


def give_back() -> None:
    """Return free memory of all threads; takes milliseconds. Does nothing where the C library is not glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
