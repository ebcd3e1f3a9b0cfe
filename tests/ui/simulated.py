"""A fake dispatcher behind the real VRAM policy on a simulated GPU, so that lanes change with its memory."""

import time
from dataclasses import replace
from pathlib import Path

from tests.support.dispatcher import FakeDispatcher
from trivet.config import TASKS, AppConfig, Lane
from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ServiceStatus, gpu_status
from trivet.messages import Health, Request, ResultT
from trivet.simulation.ledger import Ledger, SimulatedGpu, SimulatedProbe
from trivet.vram.monitor import Monitor
from trivet.vram.policy import PolicyConfig
from trivet.vram.snapshot import decision_for

GIB = 1024**3
WEIGHTS_BYTES = {"embedder": int(0.9 * GIB), "reranker": int(0.6 * GIB), "classifier": int(0.8 * GIB)}
SQUEEZE_BEGINS_S = 1000.0
SQUEEZE_ENDS_S = 2000.0


class SteppedClock:
    """The real clock, which can be advanced."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class SimulatedDispatcher(FakeDispatcher):
    """Reads the GPU at every call; the clock moves the external process's schedule."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.clock = SteppedClock()
        self.config = AppConfig.model_validate({"device": "simulated", "vram": {"offload_after_s": None}})
        gpu = SimulatedGpu(
            total_bytes=8 * GIB,
            external=((0.0, GIB // 2), (SQUEEZE_BEGINS_S, 7 * GIB), (SQUEEZE_ENDS_S, GIB // 2)),
        )
        self.ledger = Ledger(folder / "gpu.ledger", gpu, self.clock)
        for task in TASKS:
            self.ledger.attach(task)
            self.ledger.load(task, WEIGHTS_BYTES[task])
        self.ledger.start()
        vram = self.config.vram
        policy = PolicyConfig(
            reroute_below_bytes=vram.reroute_below, resume_above_bytes=vram.resume_above, offload_after_s=None
        )
        self._monitor = Monitor(SimulatedProbe(self.ledger, self.clock), policy, TASKS, self.clock)
        self.clock.ahead_s = vram.dwell_s + 1  # so that the first reading can choose the GPU
        self._read()

    def squeeze(self) -> None:
        """Let the external process take the free memory."""
        self.clock.ahead_s += SQUEEZE_BEGINS_S

    def release(self) -> None:
        """Let the external process free its memory."""
        self.clock.ahead_s += SQUEEZE_ENDS_S

    def _read(self) -> None:
        self._monitor.tick()
        assert self._monitor.latest is not None
        self._snapshot = self._monitor.latest.received(self.clock())

    def status(self) -> ServiceStatus:
        self._read()
        return ServiceStatus(
            gpus=(gpu_status(self._snapshot, TASKS, self.clock(), self.config),), policy=self.config.vram
        )

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        routed = await super().call(request)
        self._read()
        decision = decision_for(self._snapshot, request.task, self.clock(), self.config.vram.grace_s)
        if decision.lane == "gpu":
            return Routed(replace(routed.result, device="simulated:0"), "gpu")
        return Routed(routed.result, "cpu", decision.reason)

    async def readiness(self) -> Readiness:
        cpu = await super().readiness()

        def with_gpu(health: Health) -> dict[Lane, Health]:
            filled = replace(health, rss_bytes=240 * 1024**2)
            return {"gpu": replace(filled, device="simulated:0"), "cpu": filled}

        return replace(cpu, lanes={task: with_gpu(lanes["cpu"]) for task, lanes in cpu.lanes.items()})
