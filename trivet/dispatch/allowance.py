"""How much one caller may still send, counted by all processes that serve as one.

A token bucket of one minute's requests, and the requests in flight. The processes share a file per caller; each change
takes its lock, so the limits are exact.
"""

import fcntl
import hashlib
import logging
import mmap
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trivet.dispatch.shared_blocks import MAX_PROCESSES, SharedBlocks

logger = logging.getLogger(__name__)

LOCK_WAIT_S = 0.002
"""A process that was stopped while it held the lock delays a request by no more than this. The request is then counted
without the lock, and the limit may be off by one."""

_TRY_EVERY_S = 0.0001

_ALLOWANCE, _COUNTED_S = range(2)
"""The bucket, in 64-bit floats; a file that was never counted in has 0 in both."""
_OPEN = 2
"""From here on the requests in flight of each process, in 64-bit integers."""
_SIZE_BYTES = 8 * (_OPEN + MAX_PROCESSES)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may send. None: no limit."""

    requests_per_minute: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not admitted, and when the next one may be."""

    message: str
    retry_after_s: float


def refilled(allowance: float, passed_s: float, per_minute: int) -> float:
    """Return the requests that a caller may send `passed_s` after it had `allowance`: at most one minute's."""
    return min(float(per_minute), allowance + max(0.0, passed_s) * per_minute / 60)


class Allowance:
    """One caller's requests."""

    def __init__(self, limits: Limits, clock: Callable[[], float], blocks: SharedBlocks, caller: bytes) -> None:
        """Count with the other processes of `blocks`; alone, with a line in the log, if the file cannot be written.

        Args:
            limits: of this caller. A caller without limits is not counted and needs no file.
            clock: monotonic, and the same in every process of the machine.
            blocks: which processes there are.
            caller: identifies the caller, the same in every process.
        """
        self._limits = limits
        self._clock = clock
        self._blocks = blocks
        self._descriptor: int | None = None
        name = _file_name(caller)
        if blocks.folder is not None and limits != Limits():
            try:
                self._descriptor = _open(blocks.folder / name)
            except OSError as error:
                logger.error("the limits of a key are counted in this process alone: %s", error)
            else:
                weakref.finalize(self, os.close, self._descriptor)
        memory = memoryview(mmap.mmap(-1 if self._descriptor is None else self._descriptor, _SIZE_BYTES))
        self._bucket = memory.cast("d")
        self._open = memory.cast("q")[_OPEN:]
        if blocks.first_use(name):
            self._open[blocks.number] = 0  # the process that had this number before has none in flight any more

    @contextmanager
    def admit(self) -> Iterator[Refusal | None]:
        """Count a request while it runs; yields the refusal instead where a limit is reached."""
        if self._limits == Limits():
            yield None
            return
        refusal = self._take()
        if refusal is not None:
            yield refusal
            return
        try:
            yield None
        finally:
            self._open[self._blocks.number] -= 1

    def _take(self) -> Refusal | None:
        with self._locked():
            refusal = self._concurrency_refusal() or self._rate_refusal()
            if refusal is None:
                self._open[self._blocks.number] += 1
            return refusal

    def _concurrency_refusal(self) -> Refusal | None:
        limit = self._limits.concurrent
        if limit is None:
            return None
        in_flight = sum(
            count for number, count in enumerate(self._open.tolist()) if count and self._blocks.is_alive(number)
        )
        if in_flight < limit:
            return None
        return Refusal(f"{in_flight} requests are open already, the most that this key may have", 1.0)

    def _rate_refusal(self) -> Refusal | None:
        """Take one request from the bucket, or refuse it."""
        rate = self._limits.requests_per_minute
        if rate is None:
            return None
        now_s = self._clock()
        counted_s = self._bucket[_COUNTED_S]
        before = self._bucket[_ALLOWANCE] if counted_s else float(rate)
        allowance = refilled(before, now_s - counted_s, rate)
        admitted = allowance >= 1
        self._bucket[_ALLOWANCE] = allowance - admitted
        self._bucket[_COUNTED_S] = now_s
        if admitted:
            return None
        return Refusal(f"this key may send {rate} requests a minute", (1 - allowance) * 60 / rate)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._descriptor is None:
            yield
            return
        locked = _lock(self._descriptor)
        try:
            yield
        finally:
            if locked:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _file_name(caller: bytes) -> str:
    """Return the name of a caller's file; the bytes that identify the caller cannot be read from it."""
    return f"key-{hashlib.blake2b(caller, digest_size=16).hexdigest()}"


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.posix_fallocate(descriptor, 0, _SIZE_BYTES)
    return descriptor


def _lock(descriptor: int) -> bool:
    """Take the lock; False if another process has kept it for `LOCK_WAIT_S`."""
    deadline_s: float | None = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now_s = time.monotonic()
            if deadline_s is None:
                deadline_s = now_s + LOCK_WAIT_S
            if now_s >= deadline_s:
                return False
            time.sleep(_TRY_EVERY_S)
        else:
            return True
