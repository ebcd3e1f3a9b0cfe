"""The latest reroutes of all processes that serve as one. One decision can reroute thousands of requests.

Requests of one model that go to the CPU for the same reason, one after another, share an entry. Each process keeps its
entries in its block; a reader merges those of all.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from trivet.config import TASKS, Task
from trivet.dispatch.shared_blocks import SharedBlocks

MAX_REROUTES = 50
"""Entries that a process keeps, and that are shown."""

MAX_REASON_BYTES = 1000
"""A longer reason is cut, and ends in an ellipsis."""

_COUNTS = struct.Struct("qdd")
"""Requests, and the Unix times of the first and of the last. Each is aligned, so it is never read half-written."""
_TEXT = struct.Struct("IHH")
"""CRC-32 of model and reason, index of the model, length of the reason in bytes."""
_SLOT_BYTES = _COUNTS.size + _TEXT.size + MAX_REASON_BYTES
REROUTE_WORDS = MAX_REROUTES * _SLOT_BYTES // 8
"""Length of a process's entries in its block."""

assert _SLOT_BYTES % 8 == 0


@dataclass(frozen=True, slots=True)
class Reroute:
    """Requests of one model that went to the CPU for one reason; moments are Unix time."""

    model: Task
    reason: str
    requests: int
    first_at_s: float
    last_at_s: float


def merged(entries: Iterable[Reroute]) -> list[Reroute]:
    """Merge the entries of several processes, the newest first, at most `MAX_REROUTES`.

    Entries of one model and reason become one unless the model's requests moved for another reason in between.
    """
    latest: dict[Task, Reroute] = {}
    done: list[Reroute] = []
    for entry in sorted(entries, key=lambda entry: entry.last_at_s):
        before = latest.get(entry.model)
        if before is not None and before.reason == entry.reason:
            entry = replace(
                entry,
                requests=before.requests + entry.requests,
                first_at_s=min(before.first_at_s, entry.first_at_s),
            )
        elif before is not None:
            done.append(before)
        latest[entry.model] = entry
    return sorted((*done, *latest.values()), key=lambda entry: -entry.last_at_s)[:MAX_REROUTES]


class RerouteLog:
    """Notes this process's reroutes in its block, and reads those of all."""

    def __init__(self, unix_clock: Callable[[], float], blocks: SharedBlocks, offset: int) -> None:
        """Keep the entries from word `offset` of the block; those of the process that had it before stay."""
        self._clock = unix_clock
        self._blocks = blocks
        self._words = slice(offset, offset + REROUTE_WORDS)
        self._slots = blocks.words[self._words].cast("B")
        self._latest: dict[Task, tuple[int, str]] = {}
        """Slot and reason of each model's newest entry."""

    def add(self, model: Task, reason: str) -> None:
        """Note one request."""
        now_s = self._clock()
        slot, before = self._latest.get(model, (0, None))
        if reason == before:
            start = slot * _SLOT_BYTES
            requests, first_at_s, _ = _COUNTS.unpack_from(self._slots, start)
            _COUNTS.pack_into(self._slots, start, requests + 1, first_at_s, now_s)
            return
        slot = self._oldest_slot()
        _write(self._slots, slot * _SLOT_BYTES, Reroute(model, reason, 1, now_s, now_s))
        self._latest = {task: kept for task, kept in self._latest.items() if kept[0] != slot}
        self._latest[model] = (slot, reason)

    def newest_first(self) -> list[Reroute]:
        """Return the entries of all processes."""
        return merged(entry for block in self._blocks.all() for entry in _read_all(block.words[self._words].cast("B")))

    def _oldest_slot(self) -> int:
        """Return the slot whose last request is the oldest; an unused one counts as older than all."""
        return min(range(MAX_REROUTES), key=lambda slot: _COUNTS.unpack_from(self._slots, slot * _SLOT_BYTES)[2])


def _write(slots: "memoryview[int]", start: int, entry: Reroute) -> None:
    reason = entry.reason.encode("utf-8", "replace")
    if len(reason) > MAX_REASON_BYTES:
        reason = reason[: MAX_REASON_BYTES - 3].decode("utf-8", "ignore").encode() + "…".encode()
    model = TASKS.index(entry.model)
    _COUNTS.pack_into(slots, start, 0, 0.0, 0.0)  # unused until it is whole
    _TEXT.pack_into(slots, start + _COUNTS.size, _checksum(model, reason), model, len(reason))
    text = start + _COUNTS.size + _TEXT.size
    slots[text : text + len(reason)] = reason
    _COUNTS.pack_into(slots, start, entry.requests, entry.first_at_s, entry.last_at_s)


def _read_all(slots: "memoryview[int]") -> Iterator[Reroute]:
    for start in range(0, MAX_REROUTES * _SLOT_BYTES, _SLOT_BYTES):
        requests, first_at_s, last_at_s = _COUNTS.unpack_from(slots, start)
        if not requests:
            continue
        checksum, model, length = _TEXT.unpack_from(slots, start + _COUNTS.size)
        text = start + _COUNTS.size + _TEXT.size
        reason = bytes(slots[text : text + length])
        # It differs while the process writes a new entry here, which takes microseconds: the next reading has it.
        if checksum == _checksum(model, reason):
            yield Reroute(TASKS[model], reason.decode(), requests, first_at_s, last_at_s)


def _checksum(model: int, reason: bytes) -> int:
    return zlib.crc32(reason, model)
