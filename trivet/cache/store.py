"""Memory and disk as one store."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trivet.cache.disk import DiskStore
from trivet.cache.disk_worker import DiskShelf
from trivet.cache.entry import Entry
from trivet.cache.memory import MemoryStore
from trivet.config import CacheConfig
from trivet.metrics import MetricsSink


class Results:
    """Entries by key: what memory does not have is looked for on disk, all of it at once."""

    def __init__(self, memory: MemoryStore, disk: DiskShelf | None = None) -> None:
        self._memory = memory
        self._disk = disk

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Those of the keys that are known."""
        found = self._memory.get(keys)
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if self._disk is not None and missing:
            on_disk = await self._disk.get(missing)
            self._memory.put(on_disk)
            # While the disk was read, another request may have computed what it lacks.
            found |= on_disk | self._memory.get(key for key in missing if key not in on_disk)
        return found

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep what was computed."""
        self._memory.put(entries)
        if self._disk is not None:
            self._disk.put(entries)

    async def close(self) -> None:
        """Write what waits to be written."""
        if self._disk is not None:
            await self._disk.close()


def open_results(
    config: CacheConfig, folder: Path, sink: MetricsSink, unix_clock: Callable[[], float] = time.time
) -> Results | None:
    """The stores that are configured; None where there is none. Touches no disk before the first look."""
    if not config.memory and not config.disk:
        return None
    disk = None
    if config.disk:
        disk = DiskShelf(lambda: DiskStore(folder, int(config.disk), unix_clock), sink)
    return Results(MemoryStore(int(config.memory)), disk)
