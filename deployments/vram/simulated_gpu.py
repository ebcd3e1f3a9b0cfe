"""The simulated GPUs of `device: simulated`, which the replicas and the VRAM actor of a node share."""

import time
from collections.abc import Sequence
from pathlib import Path

from deployments.nodes import this_node
from deployments.service.folder import run_folder
from trivet.config import TASKS, AppConfig
from trivet.simulation.ledger import Ledger, SimulatedGpu, SimulatedProbe
from trivet.vram.deadline import CallTimedOut, DeadlineThread, StillHanging
from trivet.vram.registry import Registry
from trivet.vram.types import Observation

_DEADLINE_S = 1.0
_HANG_POLL_S = 0.05


def simulated_gpus(config: AppConfig) -> tuple[str, ...]:
    """Return the names of a node's GPUs, which are also their UUIDs."""
    return tuple(f"simulated:{index}" for index, _ in enumerate(config.simulated.all_gpus()))


def ledger_path(run_id: str, gpu: str) -> Path:
    """Return the path of the ledger of one of this node's GPUs in one run.

    While `<path>.hangs` exists, the GPU's driver hangs; while `<path>.lost` exists, it says that the GPU is lost.
    """
    return run_folder() / f"trivet-{run_id}-{this_node()[:12]}-{gpu.rpartition(':')[2]}.ledger"


def simulated_ledger(config: AppConfig, run_id: str, gpu: str) -> Ledger:
    """Open the ledger of one of this node's GPUs in one run of the application."""
    settings = config.simulated.all_gpus()[simulated_gpus(config).index(gpu)]
    modelled = SimulatedGpu(
        total_bytes=int(settings.vram),
        external=tuple((at_s, int(size)) for at_s, size in settings.external),
        name=gpu,
    )
    return Ledger(ledger_path(run_id, gpu), modelled, time.monotonic)


class StartingProbe:
    """A simulated probe that starts the external process's schedule once the weights of every model are on a GPU.

    Its driver can hang like a real one; reads then time out as those of `NvmlProbe` do.

    Args:
        ledger: of the GPU.
        registry: the reports of our replicas.
        node: the ledgers of all GPUs of this node, with which the models may be divided.
        hangs: the driver hangs while this file exists.
    """

    def __init__(self, ledger: Ledger, registry: Registry, node: Sequence[Ledger], hangs: Path) -> None:
        self._ledger = ledger
        self._node = node
        self._probe = SimulatedProbe(ledger, time.monotonic, registry)
        self._hangs = hangs
        self._thread: DeadlineThread[Observation] = DeadlineThread(f"simulated-driver-{ledger.gpu.name}")
        self._started = False

    def _look(self) -> Observation:
        while self._hangs.exists():
            time.sleep(_HANG_POLL_S)
        observation = self._probe.read()
        if not self._started and observation.known:
            rows = [row for ledger in self._node for row in ledger.view().rows]
            if {row.model for row in rows if not row.offloaded} >= set(TASKS):
                self._ledger.start()
                self._started = True
        return observation

    def read(self) -> Observation:
        """Return the GPU's state now; unknown while the driver hangs. See `trivet.vram.probe.Probe`."""
        try:
            return self._thread.call(self._look, timeout_s=_DEADLINE_S)
        except (CallTimedOut, StillHanging):
            return Observation.unknown(
                at_s=time.monotonic(), device=self._ledger.gpu.name, reason="the simulated driver hangs"
            )
