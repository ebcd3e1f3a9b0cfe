"""Runs one tick of the VRAM subsystem: read the GPU, decide, log changes, and produce a snapshot if one is due.

Holds only the state between ticks; the caller (here a Ray actor) owns the timer and the transport. Not thread-safe. A
tick blocks for at most the probe's deadline, so an event loop must run it in a thread.
"""

import logging
from collections.abc import Callable, Sequence

from trivet.vram.policy import PolicyConfig, changes, decide, initial_state
from trivet.vram.probe import Probe
from trivet.vram.snapshot import next_snapshot
from trivet.vram.types import Snapshot

log = logging.getLogger(__name__)

_WORRYING = frozenset({"low_memory", "no_reading", "offloaded", "stuck", "unusable"})


class Monitor:
    """Watches one GPU on behalf of `models`, the most important first.

    `resumed`: an earlier monitor of this application died, so the times of the last lane changes are lost.
    """

    def __init__(
        self,
        probe: Probe,
        config: PolicyConfig,
        models: Sequence[str],
        clock: Callable[[], float],
        *,
        heartbeat_s: float = 1.0,
        resumed: bool = False,
    ) -> None:
        self._probe = probe
        self._config = config
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._state = initial_state(models, clock(), resumed=resumed)
        self._sent: Snapshot | None = None

    @property
    def latest(self) -> Snapshot | None:
        """The snapshot that `tick` returned last, which a new subscriber receives first."""
        return self._sent

    def tick(self) -> Snapshot | None:
        """Read the GPU and decide once; return the snapshot to send, or None if none is due."""
        observation = self._probe.read()
        now_s = self._clock()
        before, self._state = self._state, decide(self._config, self._state, observation, now_s)
        for decision in changes(before, self._state):
            left_gpu = decision.lane == "cpu" and before.decisions[decision.model].lane == "gpu"
            level = logging.WARNING if left_gpu or decision.cause in _WORRYING else logging.INFO
            log.log(level, "%s", decision.reason)
        snapshot = next_snapshot(self._sent, self._state, observation, now_s, heartbeat_s=self._heartbeat_s)
        if snapshot is not None:
            self._sent = snapshot
        return snapshot
