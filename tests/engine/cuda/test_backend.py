"""Running out of GPU memory: halves, a smaller budget, one sequence that is too long, offloading, freeing the cache."""

import numpy as np
import pytest

from trivet.engine.backend import BackendOutOfMemory, OneStep, Pending
from trivet.engine.batch.layout import PADDED
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.accelerator import DeviceMemory
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.errors import GpuUnavailable, ModelError
from trivet.messages import Floats


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class SmallGpu:
    """Fits `room_tokens` padded tokens at a time, and its weights only while `weights_fit`."""

    device = "small:0"
    fault = None
    layout = PADDED
    in_flight = 1

    def __init__(self, room_tokens: int, seconds_per_token: float = 0.0) -> None:
        self.room_tokens = room_tokens
        self.seconds_per_token = seconds_per_token
        self.clock = Clock()
        self.weights_fit = True
        self.readable = True
        self.held_bytes = 0
        self.sizes: list[int] = []
        self.calls: list[str] = []

    def launch(self, batch: TokenBatch) -> Pending:
        self.sizes.append(self.layout.cost(batch.lengths))
        if self.sizes[-1] > self.room_tokens:
            raise BackendOutOfMemory("full")
        self.clock.now_s += self.sizes[-1] * self.seconds_per_token
        return OneStep(lambda: np.add.reduceat(batch.ids, batch.cu_seqlens[:-1])[:, None].astype(np.float32))

    def free_cache(self) -> None:
        self.calls.append("free_cache")
        self.held_bytes = 0

    def offload(self) -> None:
        self.calls.append("offload")

    def reload(self) -> None:
        if not self.weights_fit:
            raise BackendOutOfMemory("weights do not fit")
        if not self.readable:
            raise ModelError("model.safetensors is gone")
        self.calls.append("reload")

    def prepare(self, max_tokens: int) -> None:
        self.calls.append(f"prepare {max_tokens}")

    def measure_context(self) -> int | None:
        return None

    def memory(self) -> DeviceMemory:
        return DeviceMemory(self.held_bytes, self.held_bytes, self.held_bytes, 0)

    def close(self) -> None:
        self.calls.append("close")


def lane(gpu: SmallGpu, token_budget: int = 4096, forward_s: float | None = None) -> tuple[GpuLaneBackend, Clock]:
    backend = GpuLaneBackend(
        gpu,
        model="embedder",
        token_budget=token_budget,
        forward_s=forward_s,
        clock=gpu.clock,
    )
    backend.reload()
    return backend, gpu.clock


def run(backend: GpuLaneBackend, batch: TokenBatch) -> Floats:
    return backend.launch(batch).result()


def batch_of(*lengths: int) -> TokenBatch:
    return TokenBatch.of([np.full(n, index + 1, dtype=np.int32) for index, n in enumerate(lengths)])


def test_an_oversize_batch_is_split_until_it_fits_and_keeps_its_order() -> None:
    gpu = SmallGpu(room_tokens=100)
    backend, _ = lane(gpu)
    outputs = run(backend, batch_of(40, 40, 40, 40, 40))
    assert outputs[:, 0].tolist() == [40, 80, 120, 160, 200]
    assert gpu.sizes[0] == 200
    assert backend.oom_splits == 2
    assert backend.token_budget < 4096


def test_the_budget_grows_back_after_many_good_batches() -> None:
    gpu = SmallGpu(room_tokens=600)
    backend, _ = lane(gpu, token_budget=1024)
    run(backend, batch_of(400, 400))
    shrunk = backend.token_budget
    for _ in range(2000):
        fits = backend.token_budget <= 600
        run(backend, batch_of(*([100] * (backend.token_budget // 100))) if fits else batch_of(500))
    assert shrunk < backend.token_budget


def test_one_sequence_that_does_not_fit_goes_to_the_cpu_replica_with_the_reason() -> None:
    backend, _ = lane(SmallGpu(room_tokens=100))
    with pytest.raises(GpuUnavailable, match="embedder: 101 tokens do not fit the GPU: full"):
        run(backend, batch_of(101))


def test_the_cache_is_freed_only_after_running_out_and_not_more_than_once_a_second() -> None:
    gpu = SmallGpu(room_tokens=100)
    backend, clock = lane(gpu)
    run(backend, batch_of(10, 10))
    assert "free_cache" not in gpu.calls
    for _ in range(3):
        run(backend, batch_of(60, 60))
    assert gpu.calls.count("free_cache") == 1
    clock.now_s += 1.0
    run(backend, batch_of(60, 60))
    assert gpu.calls.count("free_cache") == 2


def test_a_trim_returns_what_the_allocator_holds_unused() -> None:
    gpu = SmallGpu(room_tokens=10)
    backend, _ = lane(gpu)
    gpu.held_bytes = 300
    assert backend.trim() == 300
    assert backend.trim() == 0


def test_a_trim_waits_for_no_launch() -> None:
    """Neither does a request wait for it: it is left out."""

    class TrimsMeanwhile(SmallGpu):
        def launch(self, batch: TokenBatch) -> Pending:
            self.calls.append(f"trimmed {backend.trim()}")
            return super().launch(batch)

    gpu = TrimsMeanwhile(room_tokens=10)
    backend, _ = lane(gpu)
    gpu.held_bytes = 300
    backend.launch(batch_of(1, 2)).result()
    assert gpu.calls[-1] == "trimmed 0"
    assert "free_cache" not in gpu.calls


def test_it_is_idle_since_its_last_launch() -> None:
    backend, clock = lane(SmallGpu(room_tokens=10, seconds_per_token=0.5))
    clock.now_s += 7.0
    assert backend.idle_s == 7.0
    backend.launch(batch_of(1, 2)).result()
    assert backend.idle_s == 0.0
    with pytest.raises(GpuUnavailable):
        backend.launch(batch_of(11))
    clock.now_s += 2.0
    assert backend.idle_s == 2.0


def test_an_offloaded_lane_hands_over_and_comes_back() -> None:
    gpu = SmallGpu(room_tokens=100)
    backend, _ = lane(gpu)
    backend.offload()
    with pytest.raises(GpuUnavailable, match="weights are not on the GPU"):
        run(backend, batch_of(5))
    gpu.weights_fit = False
    assert not backend.reload()
    assert backend.offloaded
    gpu.weights_fit = True
    assert backend.reload()
    assert run(backend, batch_of(5)).tolist() == [[5.0]]


def test_it_begins_offloaded() -> None:
    gpu = SmallGpu(10)
    assert GpuLaneBackend(gpu, model="embedder", token_budget=10, forward_s=None, clock=gpu.clock).offloaded


def test_weights_that_cannot_be_read_again_leave_it_offloaded(caplog: pytest.LogCaptureFixture) -> None:
    gpu = SmallGpu(room_tokens=100)
    backend, _ = lane(gpu)
    backend.offload()
    gpu.readable = False
    assert not backend.reload()
    assert backend.offloaded
    assert "model.safetensors is gone" in caplog.text


@pytest.mark.parametrize(
    ("seconds_per_token", "room_tokens", "budget"),
    [
        (1e-6, 1 << 20, 16384),  # fast: the configured maximum
        (10e-6, 1 << 20, 3000),  # what fits into the time
        (1e-3, 1 << 20, 512),  # slow: less is not measured
        (1e-6, 5000, 4096),  # little memory: the largest size that fitted
        (1e-6, 100, 512),  # not even that: a batch of it will be split
    ],
)
def test_the_budget_is_what_the_gpu_computes_in_time(seconds_per_token: float, room_tokens: int, budget: int) -> None:
    backend, _ = lane(SmallGpu(room_tokens, seconds_per_token), token_budget=16384, forward_s=0.030)
    assert backend.token_budget == pytest.approx(budget, rel=0.02)


def test_the_budget_is_measured_once() -> None:
    gpu = SmallGpu(1 << 20, seconds_per_token=10e-6)
    backend, _ = lane(gpu, token_budget=16384, forward_s=0.030)
    before = len(gpu.sizes)
    backend.offload()
    assert backend.reload()
    assert len(gpu.sizes) == before
    assert gpu.calls == [
        "reload",
        f"prepare {backend.token_budget}",
        "offload",
        "reload",
        f"prepare {backend.token_budget}",
    ]


@pytest.mark.parametrize("at", ["reload", "prepare", "launch"])
def test_a_gpu_that_cannot_compute_is_left_for_good_and_the_reason_stays(
    at: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one for which the installed torch has no kernels."""

    class WithoutKernels(SmallGpu):
        def fail(self, step: str) -> None:
            if step == at:
                raise RuntimeError("CUDA error: no kernel image is available\nfurther advice")

        def reload(self) -> None:
            self.fail("reload")

        def prepare(self, max_tokens: int) -> None:
            self.fail("prepare")

        def launch(self, batch: TokenBatch) -> Pending:
            self.fail("launch")
            return super().launch(batch)

    gpu = WithoutKernels(room_tokens=1 << 20)
    backend, _ = lane(gpu, forward_s=0.030)
    assert backend.unusable == "RuntimeError: CUDA error: no kernel image is available"
    assert "no kernel image" in caplog.text
    assert backend.offloaded
    assert gpu.calls[-1] == "offload"
    assert not backend.reload(), "it is not tried again"
    with pytest.raises(GpuUnavailable, match="no kernel image"):
        run(backend, batch_of(5))


def test_a_lane_that_gives_up_takes_its_weights_off_the_gpu() -> None:
    gpu = SmallGpu(room_tokens=100)
    backend, _ = lane(gpu)
    backend.give_up("its numbers are not finite")
    assert not backend.reload(), "it is not tried again"
    assert gpu.calls[-1] == "offload"
    with pytest.raises(GpuUnavailable, match="embedder: its numbers are not finite"):
        run(backend, batch_of(5))
