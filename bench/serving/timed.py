"""Replicas whose forwards only take time, to measure how a service of several nodes scales on one machine.

Everything but the forward is real: HTTP, ingress, routing, VRAM actors, tokenizers, schedulers. A GPU replica is on the
simulated GPU of its node. Import path of the application: `bench.serving.timed:build`.
"""

import time

import numpy as np
from ray import serve

import app
from bench.serving.noop import DIMENSIONS
from deployments.classifier import Classifier
from deployments.embedder import Embedder
from deployments.open_lane import OpenLane
from deployments.replica import ModelReplica
from deployments.reranker import Reranker
from deployments.vram.simulated_gpu import simulated_gpus, simulated_ledger
from trivet.checkpoint.memory import facts_from_directory
from trivet.config import AppConfig, Lane
from trivet.engine.backend import OneStep
from trivet.engine.batch.layout import PADDED
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.open import open_engine, open_gpu_lane, prepare_model
from trivet.simulation.accelerator import SimulatedAccelerator

FORWARD_S = 0.32
"""Time of a forward: so long that four nodes need little of this machine's processor."""
BATCH_TOKENS = 256
"""Most tokens of a forward."""


class TimedBackend:
    """A `trivet.engine.backend.Backend` that waits instead of computing."""

    device = "timed"
    layout = PADDED
    in_flight = 1
    token_budget = BATCH_TOKENS
    falls_back = False
    gpu = None
    fault = None

    def launch(self, batch: TokenBatch) -> OneStep:
        """Prepare to wait."""

        def wait() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            time.sleep(FORWARD_S)
            return np.zeros((len(batch.lengths), DIMENSIONS), dtype=np.float32)

        return OneStep(wait)

    def release_scratch(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Timed(ModelReplica):
    def _open(self, config: AppConfig, lane: Lane, run_id: str, gpu: str | None) -> OpenLane:
        prepared = prepare_model(config, self.task)
        if lane == "cpu":
            return OpenLane(open_engine(config, prepared, TimedBackend(), "none"))
        uuid = gpu or simulated_gpus(config)[0]
        ledger = simulated_ledger(config, run_id, uuid)
        accelerator = SimulatedAccelerator(
            TimedBackend(),
            ledger,
            facts_from_directory(prepared.source.path),
            layout=PADDED,
            model=self.task,
            cap_bytes=int(config.model_for(self.task).gpu_fraction * ledger.gpu.total_bytes),
        )
        backend = open_gpu_lane(config, prepared, accelerator, forward_s=None)
        backend.reload()
        return OpenLane(open_engine(config, prepared, backend, "none"), backend, gpu_uuid=uuid)


class TimedEmbedder(_Timed, Embedder): ...


class TimedReranker(_Timed, Reranker): ...


class TimedClassifier(_Timed, Classifier): ...


def build(args: AppConfig) -> serve.Application:
    """As `app.build`; `device` must be `simulated`."""
    return app.graph(args, (TimedEmbedder, TimedReranker, TimedClassifier))
