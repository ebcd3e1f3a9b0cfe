"""The most recently used entries, up to a number of bytes. For one event loop: not safe between threads."""

from collections.abc import Iterable, Mapping

from cachetools import LRUCache

from trivet.cache.entry import Entry


class MemoryStore:
    """Entries by key; the least recently used ones make room."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes` bounds the entries with all that holds them."""
        self._entries: LRUCache[bytes, Entry] = LRUCache(limit_bytes, getsizeof=lambda entry: entry.size_bytes)

    @property
    def size_bytes(self) -> int:
        """What is held now."""
        return int(self._entries.currsize)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """Those of the keys that are here."""
        return {key: entry for key in keys if (entry := self._entries.get(key)) is not None}

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep them, the last one longest. One that is larger than the whole store is left out."""
        for key, entry in entries.items():
            if entry.size_bytes <= self._entries.maxsize:
                self._entries[key] = entry
