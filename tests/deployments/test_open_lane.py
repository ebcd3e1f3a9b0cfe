"""What the first forward of a replica decides, without Ray."""

from types import SimpleNamespace
from typing import Any

import pytest

from deployments.open_lane import OpenLane
from tests.engine.cuda.test_backend import SmallGpu, lane
from trivet.engine.scheduling.finite import NOT_FINITE
from trivet.errors import EngineError, GpuUnavailable


def opened(error: Exception, *, on_gpu: bool) -> OpenLane:
    def warm_up() -> None:
        raise error

    engine: Any = SimpleNamespace(warm_up=warm_up, scheduler=SimpleNamespace(stuck=None))
    return OpenLane(engine, lane(SmallGpu(room_tokens=100))[0] if on_gpu else None, gpu_uuid="GPU-a")


@pytest.mark.parametrize("error", [EngineError(NOT_FINITE), RuntimeError("no such kernel")])
def test_a_gpu_whose_first_forward_is_wrong_is_left_and_the_report_says_why(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    replica = opened(error, on_gpu=True)
    replica.warm_up("embedder")
    report = replica.report("embedder", 1, "replica-1", 0)
    assert report is not None
    assert report.offloaded
    assert report.unusable == f"its first forward failed: {error}"
    assert str(report.unusable) in caplog.text


def test_a_gpu_that_lacks_memory_for_its_first_forward_is_kept() -> None:
    replica = opened(GpuUnavailable("10 tokens do not fit"), on_gpu=True)
    replica.warm_up("embedder")
    assert replica.gpu is not None
    assert replica.gpu.unusable is None
    assert not replica.gpu.offloaded


def test_a_report_says_that_a_forward_does_not_end() -> None:
    replica = opened(EngineError(NOT_FINITE), on_gpu=True)
    replica.engine.scheduler.stuck = "a forward has been running for 7 s"
    report = replica.report("embedder", 1, "replica-1", 0)
    assert report is not None
    assert report.stuck == "a forward has been running for 7 s"


def test_the_cpu_has_nothing_behind_it() -> None:
    with pytest.raises(EngineError, match="not finite"):
        opened(EngineError(NOT_FINITE), on_gpu=False).warm_up("embedder")
