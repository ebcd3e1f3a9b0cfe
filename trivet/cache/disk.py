"""Entries in an SQLite file, up to a number of bytes, for several processes at once. Blocking; one thread at a time.

The file holds hashes and numbers, never a text. It must be on a local disk, since SQLite's write-ahead log must be.
Failures raise `sqlite3.Error` or `OSError`, which `trivet.cache.disk_worker` handles.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from filelock import FileLock

from trivet.cache.codec import decode, encode
from trivet.cache.entry import Entry

FILE_NAME = "results-1.sqlite3"
"""The number is the schema's."""

TOUCH_AFTER_S = 3600
"""A use of an entry is recorded only if the last recorded one is older: most reads cause no write."""

SMALLEST_FILE_BYTES = 1024**2
"""A smaller limit would leave little room beside the tables."""

_PAGE_BYTES = 8192
_ROW_OVERHEAD_BYTES = 128
"""Key, time and their places in two indexes."""
_KEYS_AT_A_TIME = 500
_EVICTED_AT_A_TIME = 64
_OPENING_TIMEOUT_S = 10.0
"""How long to wait for other processes that are opening the store."""
_LOCK_TIMEOUT_S = 1.0
_LOG_LIMIT_BYTES = 4 * 1024**2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (key BLOB NOT NULL UNIQUE, used_s INTEGER NOT NULL, value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS results_by_use ON results (used_s);
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a lookup."""

    entries: dict[bytes, Entry]
    stale: list[bytes]
    """Keys of entries whose last use should be recorded again."""
    damaged: int
    """Entries that were there and could not be read."""


class DiskStore:
    """An open file that evicts the least recently used entries; last uses are recorded to the hour."""

    def __init__(
        self, folder: Path, limit_bytes: int, unix_clock: Callable[[], float] = time.time, *, durable: bool = True
    ) -> None:
        """Open or create the file, readable by its owner only.

        Args:
            folder: of the file; created if missing.
            limit_bytes: bounds the file. Its write-ahead log takes a few MiB more.
            unix_clock: a clock that the next process shares.
            durable: the file outlives the machine's next crash. False for one that no later run reads: nothing waits
                for the disk, and short-lived entries may never reach it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FILE_NAME
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its log the same permissions
        self._limit_bytes = limit_bytes
        self._clock = unix_clock
        # Used by one thread, but not the one that closes it.
        self._db = sqlite3.connect(file, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            # Turning the write-ahead log on does not wait for another process that does the same: it fails as locked.
            with FileLock(folder / f"{FILE_NAME}.opening", timeout=_OPENING_TIMEOUT_S, mode=0o600):
                self._db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                self._db.execute("PRAGMA journal_mode = WAL")
                # NORMAL: a crash of the machine may lose the newest entries, not the file.
                self._db.execute(f"PRAGMA synchronous = {'NORMAL' if durable else 'OFF'}")
                self._db.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}")
                self._db.executescript(_SCHEMA)
        except BaseException:
            self._db.close()
            raise

    def get(self, keys: Sequence[bytes]) -> Found:
        """Look up entries; writes nothing."""
        found = Found({}, [], 0)
        damaged = 0
        stale_before_s = int(self._clock()) - TOUCH_AFTER_S
        for some in _chunks(keys, _KEYS_AT_A_TIME):
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT key, used_s, value FROM results WHERE key IN ({marks})", some)
            for key, used_s, value in rows:
                try:
                    found.entries[key] = decode(value)
                except ValueError:
                    damaged += 1  # computed again, and written over
                    continue
                if used_s < stale_before_s:
                    found.stale.append(key)
        return Found(found.entries, found.stale, damaged)

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Store entries, evicting others first; skipped if they exceed the whole store."""
        now_s = int(self._clock())
        rows = [(key, now_s, encode(entry)) for key, entry in entries.items()]
        incoming = sum(len(value) + _ROW_OVERHEAD_BYTES for _, _, value in rows)
        if incoming > self._limit_bytes:
            return
        with self._transaction():
            self._make_room(incoming)
            self._db.executemany("INSERT OR REPLACE INTO results (key, used_s, value) VALUES (?, ?, ?)", rows)

    def touch(self, keys: Sequence[bytes]) -> None:
        """Record that entries were used now."""
        now_s = int(self._clock())
        with self._transaction():
            self._db.executemany("UPDATE results SET used_s = ? WHERE key = ?", [(now_s, key) for key in keys])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def used_bytes(self) -> int:
        """Size of the pages in use. Free pages are reused before the file grows."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Take the write lock first, so that sizes measured inside stay true until the end."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    def _make_room(self, incoming_bytes: int) -> None:
        oldest = f"SELECT rowid FROM results ORDER BY used_s LIMIT {_EVICTED_AT_A_TIME}"
        while self.used_bytes + incoming_bytes > self._limit_bytes:
            if not self._db.execute(f"DELETE FROM results WHERE rowid IN ({oldest})").rowcount:
                return

    def _pragma(self, name: str) -> int:
        value: int = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return value


def _chunks(keys: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(keys)
    while some := list(islice(rest, size)):
        yield some
