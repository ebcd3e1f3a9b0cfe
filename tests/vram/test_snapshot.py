import pickle
import timeit

from tests.vram.fakes import GIB, look
from trivet.vram.policy import PolicyConfig, decide, initial_state
from trivet.vram.snapshot import decision_for, next_snapshot, placement_for
from trivet.vram.types import Observation, Snapshot

GRACE_S = 5.0


def snapshot(*, free_bytes: int = 4 * GIB, at_s: float = 100.0) -> Snapshot:
    observation = look(at_s, free_bytes)
    state = decide(PolicyConfig(), initial_state(["embedder"], 0.0), observation, at_s)
    made = next_snapshot(None, state, observation, at_s, heartbeat_s=1.0)
    assert made is not None
    return made


def test_the_decision_of_a_fresh_snapshot_holds() -> None:
    assert decision_for(snapshot(free_bytes=0), "embedder", 100.0, GRACE_S).lane == "cpu"
    made = snapshot()
    assert made.decisions["embedder"].lane == "gpu"
    assert decision_for(made, "embedder", 105.0, GRACE_S) is made.decisions["embedder"]


def test_a_snapshot_past_the_grace_period_means_cpu_and_says_why() -> None:
    assert decision_for(snapshot(), "embedder", 105.1, GRACE_S).lane == "cpu"
    decision = decision_for(snapshot(), "embedder", 108.0, GRACE_S)
    assert (decision.lane, decision.cause) == ("cpu", "no_reading")
    assert decision.reason == "embedder: the last decision about the GPU is 8 s old: goes to cpu"


def test_a_stale_cpu_decision_keeps_its_own_reason() -> None:
    low = snapshot(free_bytes=0)
    assert decision_for(low, "embedder", 108.0, GRACE_S) == low.decisions["embedder"]


def test_an_unknown_model_goes_to_the_cpu() -> None:
    for missing in (None, snapshot()):
        assert decision_for(missing, "unknown", 100.0, GRACE_S).lane == "cpu"


def test_a_request_goes_to_the_nodes_with_room_and_to_the_cpu_only_where_there_is_none() -> None:
    room, none, silent = snapshot(), snapshot(free_bytes=0), None

    both = placement_for({"a": room, "b": none, "c": room}, "embedder", 101.0, GRACE_S)
    assert both.nodes == ("a", "c")
    assert both.decision is room.decisions["embedder"]

    nowhere = placement_for({"a": none, "b": silent, "c": none}, "embedder", 101.0, GRACE_S)
    assert nowhere.nodes == ()
    assert nowhere.decision.lane == "cpu"
    assert nowhere.decision.cause == "low_memory"
    assert nowhere.decision.reason.split("; ") == [
        none.decisions["embedder"].reason,
        "embedder: no decision about the GPU has arrived yet: goes to cpu",
    ]

    assert placement_for({}, "embedder", 101.0, GRACE_S).decision.cause == "no_reading"
    assert placement_for({"a": none}, "embedder", 101.0, GRACE_S).decision is none.decisions["embedder"]


def test_the_receiver_measures_age_on_its_own_clock() -> None:
    elsewhere = snapshot(at_s=9_000_000.0)
    here = elsewhere.received(50.0)
    assert decision_for(here, "embedder", 54.0, GRACE_S).lane == "gpu"
    assert decision_for(here, "embedder", 56.0, GRACE_S).lane == "cpu"
    assert (here.version, here.decisions) == (elsewhere.version, elsewhere.decisions)


def test_snapshots_are_sent_on_change_and_on_heartbeat_only() -> None:
    config, state = PolicyConfig(), initial_state(["embedder"], 0.0)
    sent: Snapshot | None = None
    log: list[tuple[float, int, str]] = []
    for quarter in range(17):
        now_s = quarter * 0.25
        observation = look(now_s, 4 * GIB - quarter) if quarter < 10 else look(now_s, 0)
        state = decide(config, state, observation, now_s)
        made = next_snapshot(sent, state, observation, now_s, heartbeat_s=1.0)
        if made is not None:
            sent = made
            log.append((now_s, made.version, made.decisions["embedder"].lane))
    assert log == [
        (0.0, 1, "gpu"),
        (1.0, 1, "gpu"),
        (2.0, 1, "gpu"),
        (2.5, 2, "cpu"),
        (3.5, 2, "cpu"),
    ]


def test_snapshots_pickle() -> None:
    made = snapshot()
    assert pickle.loads(pickle.dumps(made)) == made


def test_an_unknown_observation_errs_toward_the_cpu() -> None:
    nothing = Observation.unknown(at_s=0.0, device="0", reason="gone")
    assert not nothing.known
    assert nothing.available_bytes("embedder") == 0


def test_a_decision_is_read_within_5_microseconds() -> None:
    """Every request reads one; it takes about 0.2 µs."""
    made = snapshot()
    best_s = min(timeit.repeat(lambda: decision_for(made, "embedder", 101.0, GRACE_S), number=2000, repeat=5)) / 2000
    assert best_s < 5e-6
