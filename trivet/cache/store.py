"""Memory and disk as one store."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cachetools import LRUCache

from trivet.cache.disk import SMALLEST_FILE_BYTES, DiskStore
from trivet.cache.disk_worker import DiskWorker
from trivet.cache.entry import Entry
from trivet.config import CacheConfig
from trivet.metrics import MetricsSink


class MemoryStore:
    """Entries by key; evicts the least recently used."""

    def __init__(self, limit_bytes: int) -> None:
        """Bound the memory of entries, their keys and tables included, to `limit_bytes`."""
        self._entries: LRUCache[bytes, Entry] = LRUCache(limit_bytes, getsizeof=lambda entry: entry.size_bytes)

    @property
    def size_bytes(self) -> int:
        """Memory taken now."""
        return int(self._entries.currsize)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """Return the entries of those keys that are stored."""
        return {key: entry for key in keys if (entry := self._entries.get(key)) is not None}

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Store entries, the last one as the most recent; skips one that is larger than the whole store."""
        for key, entry in entries.items():
            if entry.size_bytes <= self._entries.maxsize:
                self._entries[key] = entry


class ResultStore:
    """Entries by key. Keys that memory lacks are looked up in the file, all of them in one read."""

    def __init__(self, memory: MemoryStore, disk: DiskWorker | None = None, *, shared: bool = False) -> None:
        """`shared`: other processes read the file, and find an entry as soon as the request that computed it ends."""
        self._memory = memory
        self._disk = disk
        self._shared = shared

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of those keys that are stored."""
        found = self._memory.get(keys)
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if self._disk is not None and missing:
            on_disk = await self._disk.get(missing)
            self._memory.put(on_disk)
            # While the disk was read, another request may have computed what it lacks.
            found |= on_disk | self._memory.get(key for key in missing if key not in on_disk)
        return found

    async def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Store entries. Waits for the file only where other processes read it."""
        self._memory.put(entries)
        if self._disk is None:
            return
        if self._shared:
            await self._disk.put_and_wait(entries)
        else:
            self._disk.put(entries)

    async def close(self) -> None:
        """Finish the pending writes."""
        if self._disk is not None:
            await self._disk.close()


def open_results(
    config: CacheConfig,
    folder: Path,
    sink: MetricsSink,
    unix_clock: Callable[[], float] = time.time,
    *,
    shared_folder: Path | None = None,
) -> ResultStore | None:
    """Return the configured store; None if there is none. It opens no file before the first lookup.

    Args:
        config: sizes of the memory and of the durable file.
        folder: of the durable file.
        sink: counts failures of a file.
        unix_clock: a clock that all processes share.
        shared_folder: a folder of this run, where several processes serve as one; None: this process alone. Without a
            durable file, which would do as well, the processes share results through a file there that is as large
            as the memory of each.
    """
    if not config.memory and not config.disk:
        return None
    shared = shared_folder is not None
    disk = None
    if config.disk:
        disk = DiskWorker(lambda: DiskStore(folder, int(config.disk), unix_clock), sink)
    elif shared_folder is not None:
        limit_bytes = max(SMALLEST_FILE_BYTES, int(config.memory))
        disk = DiskWorker(lambda: DiskStore(shared_folder, limit_bytes, unix_clock, durable=False), sink)
    return ResultStore(MemoryStore(int(config.memory)), disk, shared=shared)
