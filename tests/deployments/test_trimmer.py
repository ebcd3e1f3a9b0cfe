"""An idle replica returns its unused memory to a full GPU, counts it and logs it."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.vram.trimmer import Trimmer
from tests.vram.fakes import GIB, MIB, look
from trivet.config import AppConfig
from trivet.engine.cuda.accelerator import DeviceMemory
from trivet.metrics import TRIMS, Labels, Metric

CONFIG = AppConfig.model_validate({"vram": {"trim_after_s": 10, "resume_above": "1GiB"}})


class Gpu:
    """A backend whose allocator holds 300 MiB, 200 MiB of them returnable."""

    def __init__(self, idle_s: float) -> None:
        self.idle_s = idle_s
        self.trims = 0

    def memory(self) -> DeviceMemory:
        return DeviceMemory(300 * MIB, 250 * MIB, 0 if self.trims else 200 * MIB, 0)

    def trim(self) -> int:
        self.trims += 1
        return 200 * MIB if self.trims == 1 else 0


@pytest.mark.parametrize(("idle_s", "free_bytes", "trims"), [(10.0, GIB - 1, 1), (9.0, GIB - 1, 0), (10.0, GIB, 0)])
async def test_it_trims_while_idle_and_the_gpu_is_short(
    idle_s: float, free_bytes: int, trims: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    counted: list[tuple[Metric, Labels]] = []
    sink: Any = SimpleNamespace(count=lambda metric, labels: counted.append((metric, labels)))
    gpu: Any = Gpu(idle_s)
    trimmer = Trimmer(gpu, "embedder", CONFIG, sink)
    assert trimmer.can_return_bytes() == (200 * MIB if idle_s >= 10 else 0)
    for _ in range(3):
        await trimmer.trim(look(0.0, free_bytes))
    assert gpu.trims == trims
    assert counted == [(TRIMS, {"model": "embedder"})] * trims
    told = "embedder: is idle and returned 200 MiB of unused memory to shown:0, which had 1024 MiB free"
    assert [record.getMessage() for record in caplog.records] == [told] * trims
