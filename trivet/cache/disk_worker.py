"""Runs the disk store on a thread, so that it neither blocks the event loop nor fails a request.

A slow, full or broken disk costs callers only the hits. Each failure is counted, and each kind of failure is logged
once. A file that is no readable store is not opened again until the next start.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from trivet.cache.disk import DiskStore
from trivet.cache.entry import Entry
from trivet.metrics import CACHE_DISK_FAILURES, MetricsSink

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.5
"""A lookup that takes longer is abandoned: most inputs are computed in less."""

WRITE_WAIT_S = 0.1
"""A request whose results other processes are to find waits no longer than this for them to be written."""

MAX_WAITING = 64
"""Reads and writes that may wait for the disk; further ones are skipped."""

_UNREADABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

T = TypeVar("T")


class DiskWorker:
    """A `DiskStore` that is opened by the first lookup or write."""

    def __init__(self, open_store: Callable[[], DiskStore], sink: MetricsSink) -> None:
        """Start the worker, whose thread calls `open_store`."""
        self._open_store = open_store
        self._sink = sink
        self._store: DiskStore | None = None
        self._disabled = False
        self._warned: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-disk")
        self._room = threading.Semaphore(MAX_WAITING)

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of those keys that are on disk; none if the disk does not answer in time."""
        reading = self._submit(lambda store: store.get(keys))
        if reading is None:
            return {}
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                found = await asyncio.wrap_future(reading)
        except TimeoutError:
            self._failed("slow", f"no answer within {READ_TIMEOUT_S:g} s")
            return {}
        if found is None:
            return {}
        if found.damaged:
            self._failed("damaged", f"{found.damaged} entries could not be read", found.damaged)
        if found.stale:
            self._submit(lambda store: store.touch(found.stale))
        return found.entries

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Queue entries to be written; returns at once."""
        self._submit(lambda store: store.put(entries))

    async def put_and_wait(self, entries: Mapping[bytes, Entry]) -> None:
        """Write entries; returns when other processes find them, at the latest after `WRITE_WAIT_S`."""
        writing = self._submit(lambda store: store.put(entries))
        if writing is None:
            return
        # Neither the timeout nor a cancellation of the caller cancels the write.
        _, unfinished = await asyncio.wait([asyncio.wrap_future(writing)], timeout=WRITE_WAIT_S)
        if unfinished:
            self._failed("slow", f"not written within {WRITE_WAIT_S:g} s")

    async def close(self) -> None:
        """Finish the pending writes and close the file."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._store is not None:
            self._store.close()
            self._store = None
        self._disabled = True

    def _submit(self, work: Callable[[DiskStore], T]) -> "Future[T | None] | None":
        """Queue work for the thread; None where the store is closed or too much work waits for it already."""
        if self._disabled:
            return None
        if not self._room.acquire(blocking=False):
            self._failed("behind", f"{MAX_WAITING} reads and writes wait for it")
            return None
        submitted = self._thread.submit(self._work, work)
        submitted.add_done_callback(lambda _: self._room.release())  # called for cancelled work too
        return submitted

    def _work(self, work: Callable[[DiskStore], T]) -> T | None:
        if self._disabled:
            return None
        try:
            if self._store is None:
                self._store = self._open_store()
            return work(self._store)
        except (sqlite3.Error, OSError) as error:
            if self._store is None or getattr(error, "sqlite_errorcode", None) in _UNREADABLE:
                self._disabled = True
            self._failed(type(error).__name__, str(error))
            return None

    def _failed(self, kind: str, detail: str, times: int = 1) -> None:
        """Count a failure, and log it if it is the first of its kind."""
        self._sink.count(CACHE_DISK_FAILURES, {"error": kind}, times)
        if kind not in self._warned:
            self._warned.add(kind)
            ending = "it is not used until the next start" if self._disabled else "requests are served without it"
            logger.warning("the disk cache failed (%s: %s); %s", kind, detail, ending)
