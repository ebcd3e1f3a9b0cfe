"""The GPU lane on the modelled GPU."""

from pathlib import Path

from trivet.config import AppConfig
from trivet.engine.open import prepare_model
from trivet.simulation.ledger import Ledger, SimulatedGpu
from trivet.simulation.open import open_simulated_backend

GIB = 1024**3


def test_a_process_keeps_to_its_share_with_its_context(tmp_path: Path) -> None:
    config = AppConfig.model_validate({"device": "simulated", "reranker": {"gpu_fraction": 0.25}})
    ledger = Ledger(tmp_path / "gpu.db", SimulatedGpu(total_bytes=8 * GIB, context_bytes=GIB // 2), lambda: 0.0)
    backend, _ = open_simulated_backend(config, prepare_model(config, "reranker"), ledger)
    (row,) = ledger.view().rows
    assert (row.context_bytes, row.cap_bytes) == (GIB // 2, 3 * GIB // 2)
    backend.close()
    ledger.close()
