"""What a GPU replica asks the driver about itself, and what it keeps of the answer."""

import os
import time
from pathlib import Path

import pytest

from deployments.vram import own_memory
from trivet.units import MIB
from trivet.vram.contexts import kept_context
from trivet.vram.nvml import GpuUnreadable

KIND = "NVIDIA RTX 4060, driver 580.1"


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_memory, "_warned", set())
    monkeypatch.setattr(own_memory, "current_gpu_uuid", lambda: "GPU-1")
    monkeypatch.setattr(own_memory, "driver_and_gpu", lambda device: KIND if device == "GPU-1" else "another")


def test_the_driver_is_asked_for_this_process_on_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(own_memory, "process_bytes", lambda *given: asked.append(given) or 700 * MIB)
    assert own_memory.own_gpu_bytes() == 700 * MIB
    assert asked == [("GPU-1", os.getpid())]


def test_a_driver_that_does_not_say_leaves_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_memory, "process_bytes", lambda *_: None)
    assert own_memory.own_gpu_bytes() is None
    assert own_memory.own_gpu_bytes() is None
    assert caplog.text.count("does not list this process on GPU-1") == 1

    def unreadable(*_: object) -> int:
        raise GpuUnreadable("NVML: no permission", lost=False)

    monkeypatch.setattr(own_memory, "process_bytes", unreadable)
    assert own_memory.own_gpu_bytes() is None
    assert "NVML: no permission" in caplog.text


def test_a_driver_that_hangs_does_not_hold_the_replica(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_memory, "_TIMEOUT_S", 0.05)
    monkeypatch.setattr(own_memory, "process_bytes", lambda *_: time.sleep(0.5))
    assert own_memory.own_gpu_bytes() is None
    assert own_memory.own_gpu_bytes() is None  # the first question still hangs
    assert caplog.text.count("NVML has not answered for 0.05 s") == 1
    time.sleep(0.6)  # the next test asks the same thread


def test_a_measured_context_is_kept_for_plans(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_memory.keep_measured_context(tmp_path, "GPU-1", None)
    assert not list(tmp_path.iterdir())
    own_memory.keep_measured_context(tmp_path, "GPU-1", 310 * MIB)
    assert kept_context(tmp_path, KIND) == 310 * MIB
    assert not caplog.messages
    (tmp_path / "file").write_text("")
    own_memory.keep_measured_context(tmp_path / "file", "GPU-1", 310 * MIB)
    assert "310 MiB was measured and is not kept" in caplog.text
