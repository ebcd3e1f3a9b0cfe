"""The GPU lane on the modelled GPU."""

import threading
from pathlib import Path

import numpy as np
import pytest

from bench.engine.gpu.host import WaitingDevice
from trivet.config import AppConfig
from trivet.engine.backend import OneStep
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.open import open_engine, open_gpu_lane, prepare_model
from trivet.errors import GpuUnavailable
from trivet.messages import Floats, RerankRequest
from trivet.simulation.ledger import Ledger, SimulatedGpu
from trivet.simulation.open import open_simulated_backend

GIB = 1024**3


async def test_a_device_that_hangs_hands_its_work_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As configured, and for devices behind which a CPU stands."""
    monkeypatch.setattr("trivet.engine.scheduling.scheduler._WATCH_S", 0.02)
    config = AppConfig.model_validate({"device": "simulated", "gpu": {"stuck_after_s": 0.05}})
    prepared = prepare_model(config, "reranker")
    returns = threading.Event()

    class Hanging(WaitingDevice):
        def launch(self, batch: TokenBatch) -> OneStep:
            def wait() -> Floats:
                assert returns.wait(30)
                return np.zeros((len(batch.lengths), 1), dtype=np.float32)

            return OneStep(wait)

    backend = open_gpu_lane(config, prepared, Hanging(1e6, 1), forward_s=None)
    assert backend.reload()
    engine = open_engine(config, prepared, backend, "none")
    engine.start()
    with pytest.raises(GpuUnavailable, match="a forward has been running"):
        await engine.run(RerankRequest("a question", ("a text",)))
    returns.set()
    await engine.close()


def test_a_process_keeps_to_its_share_with_its_context(tmp_path: Path) -> None:
    config = AppConfig.model_validate({"device": "simulated", "reranker": {"gpu_fraction": 0.25}})
    ledger = Ledger(tmp_path / "gpu.db", SimulatedGpu(total_bytes=8 * GIB, context_bytes=GIB // 2), lambda: 0.0)
    backend, _ = open_simulated_backend(config, prepare_model(config, "reranker"), ledger)
    (row,) = ledger.view().rows
    assert (row.context_bytes, row.cap_bytes) == (GIB // 2, 3 * GIB // 2)
    backend.close()
    ledger.close()
