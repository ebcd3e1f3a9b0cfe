"""The most recently used entries, up to a number of bytes. For one event loop: not safe between threads."""

from collections.abc import Iterable, Mapping

from cachetools import LRUCache

from trivet.cache.entry import Entry


class MemoryStore:
    """Entries by key; evicts the least recently used."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes` bounds the entries, their keys and tables included."""
        self._entries: LRUCache[bytes, Entry] = LRUCache(limit_bytes, getsizeof=lambda entry: entry.size_bytes)

    @property
    def size_bytes(self) -> int:
        """Memory taken now."""
        return int(self._entries.currsize)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """The entries of those keys that are stored."""
        return {key: entry for key in keys if (entry := self._entries.get(key)) is not None}

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Store entries, the last one as the most recent; skips one that is larger than the whole store."""
        for key, entry in entries.items():
            if entry.size_bytes <= self._entries.maxsize:
                self._entries[key] = entry
