"""What the VRAM mechanism adds to one request: the ingress's lane choice. `python -m bench.serving.vram_overhead`."""

import time

import numpy as np

from trivet.config import TASKS, Lane
from trivet.gpu import GpuId
from trivet.vram.snapshot import placement_for
from trivet.vram.types import Decision, Observation, Snapshot

ROUNDS = 200_000


def snapshot(lane: Lane) -> Snapshot:
    """A snapshot with all models on one lane."""
    now_s = time.monotonic()
    decisions: dict[str, Decision] = {
        task: Decision(
            model=task, lane=lane, cause="room", reason=f"{task}: 6 GiB free", since_s=now_s, free_bytes=6 << 30
        )
        for task in TASKS
    }
    observation = Observation(at_s=now_s, device="simulated:0", total_bytes=8 << 30, free_bytes=6 << 30)
    return Snapshot(version=1, at_s=now_s, device="simulated:0", decisions=decisions, observation=observation)


def main() -> None:
    for lane in ("gpu", "cpu"):
        latest = {GpuId("node", "GPU-0"): snapshot(lane)}
        took_ns = np.empty(ROUNDS)
        for index in range(ROUNDS):
            started_ns = time.perf_counter_ns()
            placement_for(latest, "embedder", time.monotonic(), 5.0)
            took_ns[index] = time.perf_counter_ns() - started_ns
        print(
            f"lane {lane}: p50 {np.percentile(took_ns, 50) / 1000:.2f} µs, "
            f"p99 {np.percentile(took_ns, 99) / 1000:.2f} µs, of which the timer "
            f"{_timer_ns() / 1000:.2f} µs; no call leaves the process"
        )


def _timer_ns() -> float:
    differences = [-(time.perf_counter_ns() - time.perf_counter_ns()) for _ in range(10_000)]
    return float(np.median(differences))


if __name__ == "__main__":
    main()
