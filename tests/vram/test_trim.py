"""When idle replicas return unused memory, and that the floor counts exactly what they return (Hypothesis)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vram.fakes import GIB, MIB, look
from trivet.vram.policy import PolicyConfig, decide, initial_state
from trivet.vram.registry import Registry, ReplicaReport
from trivet.vram.trim import LEAST_BYTES, TrimConfig, returnable_bytes, trim_is_due
from trivet.vram.types import Observation

CONFIG = TrimConfig(short_below_bytes=GIB, idle_after_s=10.0)
POLICY = PolicyConfig(reroute_below_bytes=500 * MIB, resume_above_bytes=GIB, dwell_s=0.0)
MODELS = ("embedder", "reranker", "classifier")


@pytest.mark.parametrize(
    ("config", "unused_bytes", "idle_s", "expected"),
    [
        (CONFIG, 300 * MIB, 10.0, 300 * MIB),
        (CONFIG, 300 * MIB, 9.9, 0),
        (CONFIG, LEAST_BYTES, 10.0, LEAST_BYTES),
        (CONFIG, LEAST_BYTES - 1, 10.0, 0),
        (replace(CONFIG, idle_after_s=None), 300 * MIB, 1e9, 0),
    ],
)
def test_only_an_idle_replica_returns_memory(
    config: TrimConfig, unused_bytes: int, idle_s: float, expected: int
) -> None:
    assert returnable_bytes(config, unused_bytes, idle_s) == expected


@pytest.mark.parametrize(
    ("observation", "can_return_bytes", "due"),
    [
        (look(0.0, GIB - 1), LEAST_BYTES, True),
        (look(0.0, GIB), LEAST_BYTES, False),
        (look(0.0, 0), 0, False),
        (Observation.unknown(at_s=0.0, device="shown:0", reason="lost"), 8 * GIB, False),
    ],
)
def test_it_is_due_while_the_gpu_is_short_of_memory(observation: Observation, can_return_bytes: int, due: bool) -> None:
    assert trim_is_due(CONFIG, observation, can_return_bytes) is due


PROCESSES = st.lists(
    st.tuples(
        st.integers(0, GIB),  # unused memory of its allocator
        st.sampled_from([0.0, 9.9, 10.0, 600.0]),  # time since its last forward
        st.sampled_from(["GPU-a", "GPU-b"]),
        st.sets(st.sampled_from(MODELS), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(PROCESSES, st.integers(0, 2 * GIB))
def test_what_the_floor_counts_is_free_after_the_trims(
    processes: list[tuple[int, float, str, set[str]]], free_bytes: int
) -> None:
    """Decide about one of two GPUs, let its idle processes return memory, and look at the models that stayed on it."""
    registry = Registry(is_alive=lambda _: True)
    can_return = {}
    for pid, (unused_bytes, idle_s, gpu, models) in enumerate(processes):
        can_return[pid] = returnable_bytes(CONFIG, unused_bytes, idle_s)
        for model in models:
            registry.report(
                ReplicaReport(
                    model=model,
                    pid=pid,
                    gpu=gpu,
                    at_s=0.0,
                    reusable_bytes=unused_bytes,
                    returnable_bytes=can_return[pid],
                )
            )
    view = registry.view(0.0, "GPU-a")
    seen = replace(
        look(0.0, free_bytes, reusable=view.reusable_bytes(), present=view.present()),
        others_returnable_bytes=view.others_returnable_bytes(),
    )
    on_gpu = decide(POLICY, initial_state(MODELS, 0.0), look(0.0, 8 * GIB), 0.0)
    stayed = [name for name, decision in decide(POLICY, on_gpu, seen, 0.0).decisions.items() if decision.lane == "gpu"]

    left = {pid: unused for pid, (unused, _, gpu, _) in enumerate(processes) if gpu == "GPU-a"}
    for pid in left:
        if trim_is_due(CONFIG, seen, can_return[pid]):
            free_bytes, left[pid] = free_bytes + left[pid], 0
    for model in stayed:
        own = min(left[pid] for pid in left if model in processes[pid][3])
        assert free_bytes + own >= POLICY.reroute_below_bytes
