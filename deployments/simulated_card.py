"""The modelled card of `device: simulated`, as one machine's replicas and VRAM actor share it."""

import tempfile
import time
from pathlib import Path

from trivet.config import TASKS, AppConfig
from trivet.vram.ledger import Ledger, SimulatedCard, SimulatedProbe
from trivet.vram.types import Observation


def simulated_ledger(config: AppConfig, run_id: str) -> Ledger:
    """The ledger of one run of the application."""
    card = SimulatedCard(
        total_bytes=int(config.simulated.vram),
        foreign=tuple((at_s, int(size)) for at_s, size in config.simulated.foreign),
    )
    return Ledger(Path(tempfile.gettempdir()) / f"trivet-{run_id}.ledger", card, time.monotonic)


class StartingProbe:
    """A simulated probe that lets the stranger's schedule begin once every model's weights are on the card."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._probe = SimulatedProbe(ledger, time.monotonic)
        self._started = False

    def read(self) -> Observation:
        """See `trivet.vram.probe.Probe`."""
        observation = self._probe.read()
        if not self._started and observation.known:
            loaded = set(observation.ours_bytes) - observation.parked
            if loaded >= set(TASKS):
                self._ledger.start()
                self._started = True
        return observation
