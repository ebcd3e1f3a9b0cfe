"""The simulated GPU of `device: simulated`, which the replicas and the VRAM actor of a node share."""

import time
from pathlib import Path

from deployments.nodes import this_node
from deployments.service.folder import run_folder
from trivet.config import TASKS, AppConfig
from trivet.simulation.ledger import Ledger, SimulatedGpu, SimulatedProbe
from trivet.vram.deadline import CallTimedOut, DeadlineThread, StillHanging
from trivet.vram.types import Observation

_DEADLINE_S = 1.0
_HANG_POLL_S = 0.05


def ledger_path(run_id: str) -> Path:
    """Return the path of this node's ledger in one run. While `<path>.hangs` exists, the GPU's driver hangs."""
    return run_folder() / f"trivet-{run_id}-{this_node()[:12]}.ledger"


def simulated_ledger(config: AppConfig, run_id: str) -> Ledger:
    """Open the ledger of this node's GPU in one run of the application."""
    gpu = SimulatedGpu(
        total_bytes=int(config.simulated.vram),
        external=tuple((at_s, int(size)) for at_s, size in config.simulated.external),
    )
    return Ledger(ledger_path(run_id), gpu, time.monotonic)


class StartingProbe:
    """A simulated probe that starts the external process's schedule once the weights of every model are on the GPU.

    Its driver can hang like a real one; reads then time out as those of `NvmlProbe` do. `hangs`: the driver hangs while
    this file exists.
    """

    def __init__(self, ledger: Ledger, hangs: Path) -> None:
        self._ledger = ledger
        self._probe = SimulatedProbe(ledger, time.monotonic)
        self._hangs = hangs
        self._thread: DeadlineThread[Observation] = DeadlineThread("simulated-driver")
        self._started = False

    def _look(self) -> Observation:
        while self._hangs.exists():
            time.sleep(_HANG_POLL_S)
        return self._probe.read()

    def read(self) -> Observation:
        """Return the GPU's state now; unknown while the driver hangs. See `trivet.vram.probe.Probe`."""
        try:
            observation = self._thread.call(self._look, timeout_s=_DEADLINE_S)
        except (CallTimedOut, StillHanging):
            return Observation.unknown(at_s=time.monotonic(), device="simulated:0", reason="the simulated driver hangs")
        if not self._started and observation.known:
            loaded = set(observation.ours_bytes) - observation.offloaded
            if loaded >= set(TASKS):
                self._ledger.start()
                self._started = True
        return observation
