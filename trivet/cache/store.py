"""Memory and disk as one store."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cachetools import LRUCache

from trivet.cache.disk import DiskStore
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
    """Entries by key. Keys that memory lacks are looked up on disk, all of them in one read."""

    def __init__(self, memory: MemoryStore, disk: DiskWorker | None = None) -> None:
        self._memory = memory
        self._disk = disk

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

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Store entries; returns before the disk has them."""
        self._memory.put(entries)
        if self._disk is not None:
            self._disk.put(entries)

    async def close(self) -> None:
        """Finish the pending writes."""
        if self._disk is not None:
            await self._disk.close()


def open_results(
    config: CacheConfig, folder: Path, sink: MetricsSink, unix_clock: Callable[[], float] = time.time
) -> ResultStore | None:
    """Return the configured store; None if there is none. It opens no file before the first lookup."""
    if not config.memory and not config.disk:
        return None
    disk = None
    if config.disk:
        disk = DiskWorker(lambda: DiskStore(folder, int(config.disk), unix_clock), sink)
    return ResultStore(MemoryStore(int(config.memory)), disk)
