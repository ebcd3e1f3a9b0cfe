"""The policy's transition table, row by row, and its properties over random histories (Hypothesis)."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vram.fakes import GIB, MIB, look
from trivet.config import Lane
from trivet.errors import ConfigError
from trivet.vram.policy import ModelState, PolicyConfig, PolicyState, changes, decide, initial_state
from trivet.vram.types import Cause, Decision, Observation

CONFIG = PolicyConfig(
    reroute_below_bytes=500 * MIB, resume_above_bytes=GIB, dwell_s=10.0, grace_s=5.0, offload_after_s=60.0
)
WEIGHTS = {"embedder": 900 * MIB, "reranker": 500 * MIB}
NOW_S = 1000.0


def state_of(
    lane: Lane,
    cause: Cause,
    *,
    offloaded: bool = False,
    switched_s: float | None = NOW_S - 100.0,
    starved_since_s: float | None = None,
    last_read_s: float = NOW_S - 1.0,
    offload_step_s: float | None = None,
) -> PolicyState:
    decision = Decision(
        model="embedder", lane=lane, cause=cause, reason="as before", since_s=0.0, free_bytes=0, offloaded=offloaded
    )
    model = ModelState(decision=decision, switched_s=switched_s, starved_since_s=starved_since_s)
    return PolicyState(models={"embedder": model}, last_read_s=last_read_s, offload_step_s=offload_step_s)


def seen(
    free_bytes: int, *, off_gpu: bool = False, reusable_bytes: int = 0, others_bytes: int = 0, absent: bool = False
) -> Observation:
    return look(
        NOW_S,
        free_bytes,
        weights=WEIGHTS,
        offloaded=frozenset({"embedder"}) if off_gpu else frozenset(),
        reusable={"embedder": reusable_bytes},
        others_returnable={"embedder": others_bytes},
        present=frozenset({"reranker"} if absent else {"reranker", "embedder"}),
    )


def unseen() -> Observation:
    return Observation.unknown(at_s=NOW_S, device="shown:0", reason="NVML did not answer")


GPU = state_of("gpu", "room")
LOW = state_of("cpu", "low_memory", starved_since_s=NOW_S - 30.0)
OFFLOADED = state_of("cpu", "offloaded", offloaded=True)
RELOADING = state_of("cpu", "reloading")
UNUSABLE = replace(seen(8 * GIB, off_gpu=True), unusable={"embedder": "no kernels"})
STUCK = replace(seen(8 * GIB), stuck={"embedder": "its GPU replica has been silent for 6 s"})
BLIND_S = NOW_S - CONFIG.grace_s - 0.1

TABLE: list[tuple[str, PolicyState, Observation, tuple[Lane, Cause, bool]]] = [
    # any lane, GPU unreadable
    ("gpu, unread within grace", GPU, unseen(), ("gpu", "room", False)),
    ("gpu, unread past grace", replace(GPU, last_read_s=BLIND_S), unseen(), ("cpu", "no_reading", False)),
    ("gpu, unread exactly at grace", replace(GPU, last_read_s=NOW_S - 5.0), unseen(), ("gpu", "room", False)),
    ("cpu, unread within grace", LOW, unseen(), ("cpu", "low_memory", False)),
    ("cpu, unread past grace", replace(LOW, last_read_s=BLIND_S), unseen(), ("cpu", "no_reading", False)),
    ("offloaded, unread past grace", replace(OFFLOADED, last_read_s=BLIND_S), unseen(), ("cpu", "offloaded", True)),
    ("start, unread", state_of("cpu", "starting"), unseen(), ("cpu", "starting", False)),
    (
        "start, unread past grace",
        state_of("cpu", "starting", last_read_s=BLIND_S),
        unseen(),
        ("cpu", "no_reading", False),
    ),
    # gpu
    ("gpu, below the floor", GPU, seen(500 * MIB - 1), ("cpu", "low_memory", False)),
    ("gpu, at the floor", GPU, seen(500 * MIB), ("gpu", "room", False)),
    ("gpu, between the thresholds", GPU, seen(700 * MIB), ("gpu", "room", False)),
    ("gpu, own cache counts", GPU, seen(100 * MIB, reusable_bytes=400 * MIB), ("gpu", "room", False)),
    ("gpu, the cache of idle others counts", GPU, seen(0, others_bytes=500 * MIB), ("gpu", "room", False)),
    ("gpu, too little even so", GPU, seen(0, others_bytes=500 * MIB - 1), ("cpu", "low_memory", False)),
    (
        "gpu, below the floor right after a switch",
        state_of("gpu", "room", switched_s=NOW_S - 0.5),
        seen(0),
        ("cpu", "low_memory", False),
    ),
    ("gpu, weights gone", GPU, seen(4 * GIB, off_gpu=True), ("cpu", "offloaded", True)),
    ("gpu, replica gone", GPU, seen(8 * GIB, absent=True), ("cpu", "absent", False)),
    # cpu
    ("cpu, between the thresholds", LOW, seen(GIB - 1), ("cpu", "low_memory", False)),
    ("cpu, room", LOW, seen(GIB), ("gpu", "room", False)),
    ("cpu, others have returned nothing yet", LOW, seen(0, others_bytes=8 * GIB), ("cpu", "low_memory", False)),
    ("cpu, room by own cache", LOW, seen(600 * MIB, reusable_bytes=424 * MIB), ("gpu", "room", False)),
    (
        "cpu, room within the dwell",
        state_of("cpu", "low_memory", switched_s=NOW_S - 9.9),
        seen(4 * GIB),
        ("cpu", "dwell", False),
    ),
    (
        "cpu, room when the dwell is over",
        state_of("cpu", "dwell", switched_s=NOW_S - 10.0),
        seen(4 * GIB),
        ("gpu", "room", False),
    ),
    ("start, room", state_of("cpu", "starting", switched_s=None), seen(GIB), ("gpu", "room", False)),
    ("start, no room", state_of("cpu", "starting", switched_s=None), seen(GIB - 1), ("cpu", "low_memory", False)),
    ("cpu after blindness, room", state_of("cpu", "no_reading"), seen(GIB), ("gpu", "room", False)),
    ("cpu, replica gone", LOW, seen(8 * GIB, absent=True), ("cpu", "absent", False)),
    ("replica back on the GPU", state_of("cpu", "absent"), seen(8 * GIB), ("gpu", "room", False)),
    (
        "replica back on the GPU within the dwell",
        state_of("cpu", "absent", switched_s=NOW_S - 1.0),
        seen(8 * GIB),
        ("cpu", "dwell", False),
    ),
    # the GPU cannot compute the model
    ("gpu, cannot be computed", GPU, UNUSABLE, ("cpu", "unusable", True)),
    ("start, cannot be computed", state_of("cpu", "starting", switched_s=None), UNUSABLE, ("cpu", "unusable", True)),
    ("offloaded, cannot be computed", OFFLOADED, UNUSABLE, ("cpu", "unusable", True)),
    (
        "its replica was started again",
        state_of("cpu", "unusable", offloaded=True),
        seen(8 * GIB),
        ("cpu", "reloading", False),
    ),
    # the replica does not answer
    ("gpu, does not answer", GPU, STUCK, ("cpu", "stuck", False)),
    ("cpu, does not answer", LOW, STUCK, ("cpu", "stuck", False)),
    ("offloaded, does not answer", OFFLOADED, STUCK, ("cpu", "offloaded", True)),
    ("it answers again", state_of("cpu", "stuck"), seen(8 * GIB), ("gpu", "room", False)),
    (
        "it answers again within the dwell",
        state_of("cpu", "stuck", switched_s=NOW_S - 1.0),
        seen(8 * GIB),
        ("cpu", "dwell", False),
    ),
    # offloading
    (
        "replica back without weights",
        state_of("cpu", "absent", starved_since_s=NOW_S - 90.0),
        seen(900 * MIB, off_gpu=True),
        ("cpu", "offloaded", True),
    ),
    ("start, found offloaded", state_of("cpu", "starting"), seen(8 * GIB, off_gpu=True), ("cpu", "offloaded", True)),
    ("offloaded, replica gone", OFFLOADED, seen(8 * GIB, absent=True), ("cpu", "absent", False)),
    (
        "starved for long, replica gone",
        state_of("cpu", "low_memory", starved_since_s=NOW_S - 60.0),
        seen(0, absent=True),
        ("cpu", "absent", False),
    ),
    ("starved just short of long", replace(LOW), seen(0), ("cpu", "low_memory", False)),
    (
        "starved for long",
        state_of("cpu", "low_memory", starved_since_s=NOW_S - 60.0),
        seen(0),
        ("cpu", "offloaded", True),
    ),
    (
        "starved for long, then room",
        state_of("cpu", "low_memory", starved_since_s=NOW_S - 60.0),
        seen(GIB),
        ("gpu", "room", False),
    ),
    (
        "starved for long, an offload step too recent",
        state_of("cpu", "low_memory", starved_since_s=NOW_S - 60.0, offload_step_s=NOW_S - 9.9),
        seen(0),
        ("cpu", "low_memory", False),
    ),
    ("offloaded, room without weights only", OFFLOADED, seen(GIB, off_gpu=True), ("cpu", "offloaded", True)),
    ("offloaded, a byte short", OFFLOADED, seen(GIB + 900 * MIB - 1, off_gpu=True), ("cpu", "offloaded", True)),
    ("offloaded, room with weights", OFFLOADED, seen(GIB + 900 * MIB, off_gpu=True), ("cpu", "reloading", False)),
    (
        "offloaded, room with weights, an offload step too recent",
        replace(OFFLOADED, offload_step_s=NOW_S - 9.9),
        seen(4 * GIB, off_gpu=True),
        ("cpu", "offloaded", True),
    ),
    ("reloading, not loaded yet", RELOADING, seen(2 * GIB, off_gpu=True), ("cpu", "reloading", False)),
    ("reloading, between the thresholds", RELOADING, seen(700 * MIB, off_gpu=True), ("cpu", "reloading", False)),
    (
        "reloading, the room is gone until others return some",
        RELOADING,
        seen(400 * MIB, off_gpu=True, others_bytes=8 * GIB),
        ("cpu", "offloaded", True),
    ),
    ("reloading, the room is gone", RELOADING, seen(400 * MIB, off_gpu=True), ("cpu", "offloaded", True)),
    (
        "reloading for long, starved",
        state_of("cpu", "reloading", starved_since_s=NOW_S - 60.0),
        seen(700 * MIB, off_gpu=True),
        ("cpu", "offloaded", True),
    ),
    ("reloading, loaded", RELOADING, seen(GIB), ("gpu", "room", False)),
]


@pytest.mark.parametrize(
    ("before", "observation", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_transition(before: PolicyState, observation: Observation, expected: tuple[Lane, Cause, bool]) -> None:
    after = decide(CONFIG, before, observation, NOW_S)
    decision = after.decisions["embedder"]
    assert (decision.lane, decision.cause, decision.offloaded) == expected
    was = before.decisions["embedder"]
    if expected == (was.lane, was.cause, was.offloaded):
        assert decision is was, "an unchanged decision must compare equal, otherwise every tick would push it"
        assert changes(before, after) == ()
    else:
        assert changes(before, after) == (decision,)
    switched = decision.lane != was.lane
    assert decision.since_s == (NOW_S if switched else was.since_s)
    assert after.models["embedder"].switched_s == (NOW_S if switched else before.models["embedder"].switched_s)


def test_reasons_read_as_sentences() -> None:
    below = decide(CONFIG, GPU, seen(250 * MIB), NOW_S).decisions["embedder"]
    assert below.reason == "embedder: 250 MiB free, 500 MiB needed: moved to cpu"
    assert below.free_bytes == 250 * MIB
    with_others = decide(CONFIG, GPU, seen(250 * MIB, others_bytes=50 * MIB), NOW_S).decisions["embedder"]
    assert with_others.reason == "embedder: 300 MiB free, 500 MiB needed: moved to cpu"
    back = decide(CONFIG, LOW, seen(6 * GIB + 200 * MIB), NOW_S).decisions["embedder"]
    assert back.reason == "embedder: 6.2 GiB free, 1 GiB needed: moved to gpu"
    blind = decide(CONFIG, replace(GPU, last_read_s=NOW_S - 8.0), unseen(), NOW_S).decisions["embedder"]
    assert blind.reason == "embedder: no reading of the GPU for 8 s (NVML did not answer): moved to cpu"


def test_an_observation_older_than_the_grace_period_counts_as_unreadable() -> None:
    old = look(NOW_S - 5.1, 8 * GIB)
    state = replace(GPU, last_read_s=NOW_S - 5.1)
    assert decide(CONFIG, state, old, NOW_S).decisions["embedder"].cause == "no_reading"
    assert decide(CONFIG, GPU, old, NOW_S) is GPU, "within the grace period it changes nothing"


def test_the_grace_period_counts_from_the_last_good_reading() -> None:
    state = initial_state(["embedder"], 0.0)
    for at_s in (10.0, 20.0):
        state = decide(CONFIG, state, look(at_s, 4 * GIB), at_s)
    for at_s, lane in ((22.0, "gpu"), (25.0, "gpu"), (25.1, "cpu")):
        unread = Observation.unknown(at_s=at_s, device="shown:0", reason="NVML did not answer")
        state = decide(CONFIG, state, unread, at_s)
        assert state.decisions["embedder"].lane == lane


def test_a_policy_resumed_after_a_crash_waits_for_one_dwell() -> None:
    fresh = initial_state(["embedder"], 0.0)
    assert decide(CONFIG, fresh, look(1.0, 4 * GIB), 1.0).decisions["embedder"].lane == "gpu"
    resumed = initial_state(["embedder"], 0.0, resumed=True)
    soon = decide(CONFIG, resumed, look(9.9, 4 * GIB), 9.9)
    assert soon.decisions["embedder"].cause == "dwell"
    assert decide(CONFIG, soon, look(10.0, 4 * GIB), 10.0).decisions["embedder"].lane == "gpu"


@pytest.mark.parametrize(
    "wrong",
    [
        {"reroute_below_bytes": 2, "resume_above_bytes": 1},
        {"reroute_below_bytes": -1},
        {"grace_s": 0.0},
        {"dwell_s": -1.0},
        {"offload_after_s": 0.0},
    ],
)
def test_configuration_that_contradicts_itself_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        PolicyConfig(**wrong)  # type: ignore[arg-type]


def test_the_last_in_order_is_offloaded_first_and_the_first_is_reloaded_first() -> None:
    state = initial_state(["embedder", "reranker"], 0.0)
    steps: list[tuple[float, str, bool]] = []

    def run(until_s: int, free_bytes: int, state: PolicyState, from_s: int) -> PolicyState:
        for tick in range(from_s, until_s):
            off_gpu = frozenset(name for name, decision in state.decisions.items() if decision.offloaded)
            after = decide(CONFIG, state, look(tick, free_bytes, weights=WEIGHTS, offloaded=off_gpu), float(tick))
            steps.extend(
                (tick, name, after.decisions[name].offloaded)
                for name in WEIGHTS
                if after.decisions[name].offloaded != state.decisions[name].offloaded
            )
            state = after
        return state

    state = run(200, 100 * MIB, state, 0)
    state = run(300, 6 * GIB, state, 200)
    assert steps == [(60, "reranker", True), (70, "embedder", True), (200, "embedder", False), (210, "reranker", False)]
    assert {decision.lane for decision in state.decisions.values()} == {"gpu"}


def test_a_model_without_a_replica_does_not_block_offloading_of_the_others() -> None:
    """It is starved too, and the first in order to be offloaded, but has nothing to offload."""
    state = initial_state(["embedder", "reranker"], 0.0)
    for at_s in (0.0, 60.0):
        state = decide(CONFIG, state, look(at_s, 0, present=frozenset({"embedder"})), at_s)
    assert state.decisions["embedder"].offloaded
    assert not state.decisions["reranker"].offloaded


@pytest.mark.parametrize(("field_name", "cause"), [("unusable", "unusable"), ("stuck", "offloaded")])
def test_a_model_that_the_gpu_cannot_compute_blocks_no_reload_of_the_others(field_name: str, cause: Cause) -> None:
    names = ("embedder", "reranker")
    offloaded = OFFLOADED.models["embedder"]
    models = {name: replace(offloaded, decision=replace(offloaded.decision, model=name)) for name in names}
    state = PolicyState(models=models, last_read_s=NOW_S)
    why: Any = {field_name: {"embedder": "no kernels"}}
    observation = replace(seen(8 * GIB), offloaded=frozenset(names), **why)
    after = decide(CONFIG, state, observation, NOW_S).decisions
    assert (after["embedder"].cause, after["reranker"].cause) == (cause, "reloading")


def test_any_room_restarts_the_offload_timer() -> None:
    state = initial_state(["embedder"], 0.0)
    for at_s, free_bytes in ((0.0, 0), (59.0, GIB), (60.0, 0), (119.9, 0)):
        state = decide(CONFIG, state, look(at_s, free_bytes), at_s)
        assert not state.decisions["embedder"].offloaded
    state = decide(CONFIG, state, look(120.0, 0), 120.0)
    assert state.decisions["embedder"].offloaded


def test_offloading_can_be_turned_off() -> None:
    starved = state_of("cpu", "low_memory", starved_since_s=0.0)
    after = decide(replace(CONFIG, offload_after_s=None), starved, seen(0), NOW_S)
    assert not after.decisions["embedder"].offloaded


def test_the_memory_that_offloading_frees_does_not_cause_a_reload() -> None:
    """Otherwise a model would be offloaded and reloaded in a cycle."""
    state = state_of("cpu", "low_memory", starved_since_s=NOW_S - 60.0)
    free_bytes = CONFIG.resume_above_bytes - 1  # the most that still counts as starved
    state = decide(CONFIG, state, seen(free_bytes), NOW_S)
    assert state.decisions["embedder"].offloaded
    for tick in range(1, 200):
        at_s = NOW_S + tick
        gone = look(at_s, free_bytes + WEIGHTS["embedder"], weights=WEIGHTS, offloaded=frozenset({"embedder"}))
        state = decide(CONFIG, state, gone, at_s)
        assert state.decisions["embedder"].offloaded


def test_an_unreadable_gpu_restarts_the_offload_timer() -> None:
    state = state_of("cpu", "low_memory", starved_since_s=NOW_S - 59.0, last_read_s=BLIND_S)
    blind = decide(CONFIG, state, unseen(), NOW_S)
    later = decide(CONFIG, blind, look(NOW_S + 30.0, 0), NOW_S + 30.0)
    assert not later.decisions["embedder"].offloaded, "there may have been room in between"


# ── properties over random histories ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Tick:
    """What happens before a decision: time passes, the GPU reads this or nothing, replicas apply decisions or not."""

    after_s: float
    free_bytes: int | None
    reusable_bytes: int
    others_bytes: int
    applied: bool
    off_gpu: bool
    present: bool
    stuck: bool


TICKS = st.builds(
    Tick,
    after_s=st.sampled_from([0.25, 0.5, 1.0, 3.0, 7.0, 30.0]),
    free_bytes=st.one_of(st.none(), st.integers(0, 3 * GIB), st.sampled_from([0, 500 * MIB, GIB, 8 * GIB])),
    reusable_bytes=st.sampled_from([0, 200 * MIB, 600 * MIB]),
    others_bytes=st.sampled_from([0, 0, 300 * MIB, 600 * MIB]),
    applied=st.booleans(),
    off_gpu=st.booleans(),
    present=st.sampled_from([True, True, True, False]),
    stuck=st.sampled_from([False, False, False, True]),
)
HISTORIES = st.lists(TICKS, min_size=1, max_size=40)
MODELS = ["embedder", "reranker"]
RUNS = settings(max_examples=100, deadline=None)


@dataclass
class Replay:
    """A history played through the policy, with everything that the properties need."""

    states: list[PolicyState] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    switches: dict[str, list[tuple[float, Lane]]] = field(default_factory=lambda: {name: [] for name in MODELS})


def observe(tick: Tick, state: PolicyState, now_s: float) -> Observation:
    if tick.free_bytes is None:
        return Observation.unknown(at_s=now_s, device="shown:0", reason="not this time")
    asked = frozenset(name for name, decision in state.decisions.items() if decision.offloaded)
    offloaded = asked if tick.applied else frozenset({"embedder"} if tick.off_gpu else ())
    reusable = {"embedder": tick.reusable_bytes}
    others = {"embedder": tick.others_bytes}
    present = frozenset(MODELS if tick.present else {"reranker"})
    seen = look(
        now_s,
        tick.free_bytes,
        weights=WEIGHTS,
        offloaded=offloaded,
        reusable=reusable,
        others_returnable=others,
        present=present,
    )
    return replace(seen, stuck={"embedder": "silent"} if tick.stuck else {})


def replay(ticks: Sequence[Tick], config: PolicyConfig = CONFIG) -> Replay:
    now_s = 0.0
    state = initial_state(MODELS, now_s)
    played = Replay()
    for tick in ticks:
        now_s += tick.after_s
        observation = observe(tick, state, now_s)
        after = decide(config, state, observation, now_s)
        for name in MODELS:
            if after.decisions[name].lane != state.decisions[name].lane:
                played.switches[name].append((now_s, after.decisions[name].lane))
        state = after
        played.states.append(state)
        played.observations.append(observation)
        played.times_s.append(now_s)
    return played


@RUNS
@given(HISTORIES)
def test_no_model_is_on_the_gpu_below_the_floor(ticks: list[Tick]) -> None:
    played = replay(ticks)
    for state, observation in zip(played.states, played.observations, strict=True):
        for name, decision in state.decisions.items():
            if observation.known and observation.reachable_bytes(name) < CONFIG.reroute_below_bytes:
                assert decision.lane == "cpu"


@RUNS
@given(HISTORIES)
def test_no_model_is_on_the_gpu_without_a_reading_or_weights_or_a_replica(ticks: list[Tick]) -> None:
    played = replay(ticks)
    last_read_s = 0.0
    for state, observation, now_s in zip(played.states, played.observations, played.times_s, strict=True):
        last_read_s = now_s if observation.known else last_read_s
        for name, decision in state.decisions.items():
            gone = name in observation.offloaded or not observation.has_replica(name) or name in observation.stuck
            if now_s - last_read_s > CONFIG.grace_s or gone:
                assert decision.lane == "cpu"
            assert not (decision.offloaded and decision.lane == "gpu")


@RUNS
@given(HISTORIES)
def test_one_switch_per_dwell(ticks: list[Tick]) -> None:
    """Every switch to the GPU comes at least one dwell after the previous switch, so no dwell contains two of them."""
    for switches in replay(ticks).switches.values():
        for (before_s, _), (at_s, lane) in pairwise(switches):
            if lane == "gpu":
                assert at_s - before_s >= CONFIG.dwell_s
        to_gpu_s = [at_s for at_s, lane in switches if lane == "gpu"]
        assert all(later - earlier >= CONFIG.dwell_s for earlier, later in pairwise(to_gpu_s))


@RUNS
@given(HISTORIES, TICKS, st.integers(0, 4 * GIB))
def test_monotone_in_free_memory(ticks: list[Tick], last: Tick, more_bytes: int) -> None:
    """From any reachable state, more free memory never turns GPU into CPU."""
    played = replay(ticks)
    state, now_s = played.states[-1], played.times_s[-1] + last.after_s
    less = observe(last, state, now_s)
    if not less.known:
        return
    more = replace(less, free_bytes=less.free_bytes + more_bytes)
    with_less = decide(CONFIG, state, less, now_s).decisions
    with_more = decide(CONFIG, state, more, now_s).decisions
    for name in MODELS:
        assert not (with_less[name].lane == "gpu" and with_more[name].lane == "cpu")


@RUNS
@given(HISTORIES)
def test_offloads_and_reloads_are_requested_one_model_at_a_time_and_a_dwell_apart(ticks: list[Tick]) -> None:
    """Only requests are limited; adopting observed facts (weights off the GPU, a replica gone) is not."""
    played = replay(ticks)
    before = initial_state(MODELS, 0.0)
    last_step_s: float | None = None
    for state, observation, now_s in zip(played.states, played.observations, played.times_s, strict=True):
        back = [n for n in MODELS if before.decisions[n].offloaded and state.decisions[n].cause == "reloading"]
        away = [n for n in MODELS if state.decisions[n].offloaded and not before.decisions[n].offloaded]
        asked = back + [name for name in away if name not in observation.offloaded]
        if asked:
            assert len(asked) == 1
            assert last_step_s is None or now_s - last_step_s >= CONFIG.dwell_s
            last_step_s = now_s
        before = state


@RUNS
@given(HISTORIES)
def test_every_model_returns_to_a_gpu_that_stays_empty(ticks: list[Tick]) -> None:
    """No state is a dead end, whatever happened before."""
    calm = Tick(
        after_s=1.0,
        free_bytes=8 * GIB,
        reusable_bytes=0,
        others_bytes=0,
        applied=True,
        off_gpu=False,
        present=True,
        stuck=False,
    )
    played = replay([*ticks, *[calm] * 45])
    assert {decision.lane for decision in played.states[-1].decisions.values()} == {"gpu"}


def test_states_pickle() -> None:
    state = decide(CONFIG, GPU, seen(0), NOW_S)
    assert pickle.loads(pickle.dumps(state)) == state
