"""The latest queue length and memory of each lane, whichever of the processes that serve as one has asked for them.

Each process asks the replicas from time to time, and writes what it learned into its block. All show the newest
reading, so that a page which alternates between them does not show old and new readings in turn.
"""

from collections.abc import Callable
from typing import NamedTuple, get_args

from trivet.config import TASKS, Lane, Task
from trivet.dispatch.protocol import Readiness
from trivet.dispatch.shared_blocks import SharedBlocks
from trivet.messages import Health

_LANES: tuple[Lane, ...] = get_args(Lane)
_READ_NS, _WAITING_TOKENS, _RSS_BYTES = range(3)
_WORDS = 3
READING_WORDS = _WORDS * len(TASKS) * len(_LANES)
"""Length of a process's readings in its block."""


class LaneReading(NamedTuple):
    """What a replica reported of itself."""

    waiting_tokens: int
    rss_bytes: int


class LaneReadings:
    """Notes readings in this process's block, and finds the newest one of all."""

    def __init__(self, clock: Callable[[], float], blocks: SharedBlocks, offset: int) -> None:
        """Keep them from word `offset` of the block. `clock` returns the same time in every process."""
        self._clock = clock
        self._blocks = blocks
        self._offset = offset

    def note(self, readiness: Readiness) -> None:
        """Write down what the replicas have just answered."""
        for task in TASKS:
            for lane, health in readiness.lanes.get(task, {}).items():
                start = self._start(task, lane)
                words = self._blocks.words
                words[start + _WAITING_TOKENS] = health.waiting_tokens
                words[start + _RSS_BYTES] = health.rss_bytes
                words[start + _READ_NS] = int(self._clock() * 1e9)

    def newest(self, task: Task, lane: Lane, known: Health) -> LaneReading:
        """Return the newest reading of a lane; that of `known` if none was noted."""
        start = self._start(task, lane)
        latest = max((block.words for block in self._blocks.all()), key=lambda words: words[start + _READ_NS])
        if not latest[start + _READ_NS]:
            return LaneReading(known.waiting_tokens, known.rss_bytes)
        return LaneReading(latest[start + _WAITING_TOKENS], latest[start + _RSS_BYTES])

    def _start(self, task: Task, lane: Lane) -> int:
        return self._offset + _WORDS * (TASKS.index(task) * len(_LANES) + _LANES.index(lane))
