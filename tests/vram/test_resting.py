"""When a CPU replica beside a GPU rests, wakes and checks itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vram.fakes import GIB, MIB, look
from trivet.vram.policy import PolicyConfig, decide, initial_state
from trivet.vram.resting import RestConfig, Step, has_room_to_spare, next_step
from trivet.vram.snapshot import next_snapshot
from trivet.vram.types import Observation, Snapshot

CONFIG = RestConfig(rest_after_s=60.0, wake_below_bytes=GIB, check_every_s=900.0)
NEVER = replace(CONFIG, rest_after_s=None)


@pytest.mark.parametrize(
    ("config", "resting", "room", "idle_s", "unchecked_s", "step"),
    [
        (CONFIG, False, True, 60.0, 0.0, "rest"),
        (CONFIG, False, True, 59.9, 0.0, None),
        (CONFIG, False, False, 1e6, 0.0, None),
        (NEVER, False, True, 1e6, 0.0, None),
        (CONFIG, True, False, 60.0, 0.0, "wake"),
        (CONFIG, True, True, 60.0, 899.0, None),
        (CONFIG, True, True, 60.0, 900.0, "check"),
        (CONFIG, True, False, 60.0, 900.0, "wake"),
    ],
)
def test_the_next_step(
    config: RestConfig, resting: bool, room: bool, idle_s: float, unchecked_s: float, step: Step | None
) -> None:
    assert next_step(config, resting=resting, room=room, idle_s=idle_s, unchecked_s=unchecked_s) == step


def on_gpu(free_bytes: int, *, reusable_bytes: int = 0) -> Snapshot:
    """A snapshot whose model is on the GPU, which then has so much memory."""
    policy = PolicyConfig()
    before = decide(policy, initial_state(["embedder"], 0.0), look(0.0, 8 * GIB), 0.0)
    seen = look(1.0, free_bytes, reusable={"embedder": reusable_bytes})
    made = next_snapshot(None, decide(policy, before, seen, 1.0), seen, 1.0, heartbeat_s=1.0)
    assert made is not None
    return made


def room(*snapshots: Snapshot, model: str = "embedder", now_s: float = 2.0) -> bool:
    return has_room_to_spare(CONFIG, snapshots, model, now_s, 5.0)


def test_there_is_room_while_a_gpu_that_can_be_read_takes_the_model_and_is_not_near_its_floor() -> None:
    assert room(on_gpu(GIB))
    assert room(on_gpu(GIB // 2, reusable_bytes=GIB // 2)), "its own cache counts"
    assert room(on_gpu(0), on_gpu(GIB)), "another GPU has it"
    assert not room(on_gpu(GIB - 1)), "between the thresholds it is on the GPU still, and wakes"
    assert on_gpu(GIB - 1).decisions["embedder"].lane == "gpu"
    assert not room(on_gpu(0))
    assert not room()
    assert not room(on_gpu(4 * GIB), model="reranker")
    assert not room(on_gpu(4 * GIB), now_s=6.1), "the last snapshot is too old"
    lost = Observation.unknown(at_s=1.0, device="shown:0", reason="GPU is lost")
    assert not room(replace(on_gpu(4 * GIB), observation=lost))


@given(st.integers(0, 2 * GIB))
def test_where_the_model_leaves_the_gpu_the_cpu_replica_never_rests(free_bytes: int) -> None:
    snapshot = on_gpu(free_bytes)
    if snapshot.decisions["embedder"].lane == "cpu":
        assert not room(snapshot)
        assert free_bytes < 500 * MIB
