"""Opens the GPU lane on the modelled GPU."""

from trivet.checkpoint.memory import facts_from_directory
from trivet.config import AppConfig
from trivet.engine.batch.layout import FLAT, PADDED
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.open import PreparedModel, open_cpu_backend, open_gpu_lane
from trivet.gpu import allocator_bytes
from trivet.simulation.accelerator import SimulatedAccelerator
from trivet.simulation.ledger import Ledger


def open_simulated_backend(config: AppConfig, prepared: PreparedModel, ledger: Ledger) -> tuple[GpuLaneBackend, str]:
    """Open one model's GPU lane on the modelled GPU; it begins offloaded. Returns it and the precision."""
    inner, precision = open_cpu_backend(config, prepared)
    task = prepared.files.task
    accelerator = SimulatedAccelerator(
        inner,
        ledger,
        facts_from_directory(prepared.source.path),
        layout=FLAT if prepared.padded_because is None else PADDED,
        model=task,
        cap_bytes=allocator_bytes(
            config.model_for(task).gpu_fraction, ledger.gpu.total_bytes, ledger.gpu.context_bytes
        ),
    )
    return open_gpu_lane(config, prepared, accelerator, forward_s=None), precision
