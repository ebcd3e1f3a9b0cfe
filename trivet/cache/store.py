"""Memory and disk as one store."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trivet.cache.disk import DiskStore
from trivet.cache.disk_worker import DiskWorker
from trivet.cache.entry import Entry
from trivet.cache.memory import MemoryStore
from trivet.config import CacheConfig
from trivet.metrics import MetricsSink


class ResultStore:
    """Entries by key. Keys that memory lacks are looked up on disk, all of them in one read."""

    def __init__(self, memory: MemoryStore, disk: DiskWorker | None = None) -> None:
        self._memory = memory
        self._disk = disk

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The entries of those keys that are stored."""
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
    """The configured store; None where there is none. Opens no file before the first lookup."""
    if not config.memory and not config.disk:
        return None
    disk = None
    if config.disk:
        disk = DiskWorker(lambda: DiskStore(folder, int(config.disk), unix_clock), sink)
    return ResultStore(MemoryStore(int(config.memory)), disk)
