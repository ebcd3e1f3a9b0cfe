"""Decides which lane each model uses. Pure: (config, last state, observation, now) → next state.

    lane  event, checked in this order at each tick                             next
    any   unread, last good reading (at first: the start) at most grace_s ago   unchanged
    any   unread, last good reading older than grace_s                          cpu no_reading, at once; offloaded stays
    any   no GPU replica of this model is alive                                 cpu absent, at once
    gpu   available < reroute_below                                             cpu low_memory, at once
    gpu   weights not on the GPU                                                cpu offloaded, at once
    gpu   otherwise, so also between the two thresholds                         gpu room
    cpu   offloaded; free ≥ resume_above + weights, and it is its turn          cpu reloading: reload requested
    cpu   offloaded otherwise                                                   cpu offloaded
    cpu   weights not on the GPU, and no reload requested                       cpu offloaded, as found
    cpu   reloading, weights not there yet, and available < reroute_below       cpu offloaded: reload given up
    cpu   available < resume_above for offload_after_s, and it is its turn      cpu offloaded: offload requested
    cpu   reloading, weights not there yet                                      cpu reloading
    cpu   available < resume_above                                              cpu low_memory
    cpu   lane changed less than dwell_s ago                                    cpu dwell
    cpu   otherwise                                                             gpu room

*Available* to a model is the GPU's free memory plus what the model's own allocator holds free.

Three properties, each held by a test:

1. Never GPU below the floor. After a tick that read the GPU, no model with less than `reroute_below_bytes` available
   is on the GPU lane. Going to the CPU is therefore never delayed by the dwell.
2. One switch per dwell. Switching to the GPU is the only switch that is a choice, and it waits until the model's lane
   has been unchanged for `dwell_s`. So any half-open window of `dwell_s` contains at most one switch to the GPU, and a
   second switch inside it can only be necessity (floor, blindness, weights or replica gone) sending that model back.
   From leaving the GPU to returning takes at least `dwell_s`: at most one round trip per dwell.
3. Monotone in free memory. From the same state at the same moment, more free memory never turns a GPU decision into a
   CPU one. (Across whole histories no policy with a dwell can be monotone: whoever had less memory and left the GPU
   earlier may return earlier.)

Offloading trades speed of return for memory: after `offload_after_s` without room a model's weights leave the GPU. What
that frees is not enough to reload them, because a reload needs the weights *on top of* the resume threshold. Models are
offloaded from the end of the configured order and reloaded from its beginning, at most one step per
`dwell_s`, so that two models never plan with the same free bytes and the most important one moves last.

Starts conservatively: CPU until a good reading shows room and a replica to use it. A policy that resumes after a crash
(`resumed=True`) does not know when lanes last changed, so it also waits out one dwell; what is offloaded it can see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trivet.config import Lane
from trivet.errors import ConfigError
from trivet.units import format_bytes, format_seconds
from trivet.vram.types import Cause, Decision, Observation

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Thresholds and times, the same for every model. Raises `ConfigError` where they contradict each other."""

    reroute_below_bytes: int = 500 * _MIB
    """The floor: a model with less than this available leaves the GPU at once."""
    resume_above_bytes: int = 1024 * _MIB
    """A model returns when at least this much is available."""
    dwell_s: float = 5.0
    """How long a lane stays before a switch to the GPU, and the least time between two offload steps."""
    grace_s: float = 5.0
    """How long the last decisions hold without a good reading; then everything moves to the CPU."""
    offload_after_s: float | None = 60.0
    """How long a model goes without room before it is asked to give its weights back; None: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.reroute_below_bytes <= self.resume_above_bytes:
            raise ConfigError(
                f"resume_above ({format_bytes(self.resume_above_bytes)}) must be at least "
                f"reroute_below ({format_bytes(self.reroute_below_bytes)})"
            )
        if self.dwell_s < 0 or self.grace_s <= 0 or (self.offload_after_s is not None and self.offload_after_s <= 0):
            raise ConfigError("dwell_s must not be negative; grace_s and offload_after_s must be above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """What the policy remembers of one model between ticks."""

    decision: Decision
    switched_s: float | None
    """When the lane last changed; None if it never did, so that the first switch need not wait."""
    starved_since_s: float | None = None
    """Since when good readings have shown less than the resume threshold on the CPU lane; None if they do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """Everything the policy remembers. `models` is ordered: the first is the last to offload."""

    models: Mapping[str, ModelState]
    last_read_s: float
    """When the GPU was last read well; the start, before the first reading."""
    offload_step_s: float | None = None
    """When a model was last asked to offload or to return."""

    @property
    def decisions(self) -> dict[str, Decision]:
        """The decision per model, in order."""
        return {name: state.decision for name, state in self.models.items()}


def initial_state(models: Sequence[str], now_s: float, *, resumed: bool = False) -> PolicyState:
    """Return the state before the first reading: every model on the CPU.

    `resumed`: an earlier policy was running and its memory is lost, so returning to the GPU waits one dwell.
    """
    return PolicyState(
        models={
            name: ModelState(
                decision=Decision(
                    model=name,
                    lane="cpu",
                    cause="starting",
                    reason=f"{name}: no reading of the GPU yet: starts on cpu",
                    since_s=now_s,
                    free_bytes=0,
                ),
                switched_s=now_s if resumed else None,
            )
            for name in models
        },
        last_read_s=now_s,
    )


def decide(config: PolicyConfig, state: PolicyState, observation: Observation, now_s: float) -> PolicyState:
    """Return the state after one tick. `state.decisions` of the result are the decisions.

    `now_s` and `observation.at_s` are seconds of one monotonic clock. An observation older than `grace_s` counts as
    unread.
    """
    if not observation.known or now_s - observation.at_s > config.grace_s:
        return _decide_unread(config, state, observation, now_s)
    step = _offload_step(config, state, observation, now_s)
    models = {
        name: _remember(before, _decide_read(config, before, observation, now_s, step), config, observation, now_s)
        for name, before in state.models.items()
    }
    return PolicyState(
        models=models,
        last_read_s=max(state.last_read_s, observation.at_s),
        offload_step_s=state.offload_step_s if step is None else now_s,
    )


def changes(before: PolicyState, after: PolicyState) -> tuple[Decision, ...]:
    """Return the decisions of `after` that differ from those of `before`: one log line each."""
    return tuple(
        model.decision
        for name, model in after.models.items()
        if name not in before.models or model.decision != before.models[name].decision
    )


def _decide_unread(config: PolicyConfig, state: PolicyState, observation: Observation, now_s: float) -> PolicyState:
    blind_s = now_s - state.last_read_s
    if blind_s <= config.grace_s:
        return state
    why = observation.unknown_reason or "the last one is too old"
    models = {}
    for name, before in state.models.items():
        decision = before.decision
        if not decision.offloaded:  # a offloaded model is on the CPU for a reason that still holds
            verb = "moved to" if decision.lane == "gpu" else "stays on"
            reason = f"{name}: no reading of the GPU for {format_seconds(blind_s)} ({why}): {verb} cpu"
            decision = _settle(decision, "cpu", "no_reading", reason, now_s, free_bytes=0)
        models[name] = ModelState(
            decision=decision,
            switched_s=before.switched_s if decision.lane == before.decision.lane else now_s,
        )
    return replace(state, models=models)


def _decide_read(
    config: PolicyConfig, before: ModelState, observation: Observation, now_s: float, step: str | None
) -> Decision:
    """Return the next decision of one model from a good reading: the table at the head of this module."""
    was = before.decision
    name = was.model
    available_bytes = observation.available_bytes(name)
    floor_bytes, resume_bytes = config.reroute_below_bytes, config.resume_above_bytes
    on_gpu = name not in observation.offloaded
    free = format_bytes(available_bytes)

    def settle(lane: Lane, cause: Cause, words: str, *, offloaded: bool = False) -> Decision:
        return _settle(was, lane, cause, f"{name}: {words}", now_s, free_bytes=available_bytes, offloaded=offloaded)

    if not observation.has_replica(name):
        return settle(
            "cpu", "absent", f"no GPU replica is alive: {'moved to' if was.lane == 'gpu' else 'stays on'} cpu"
        )
    if was.lane == "gpu":
        if available_bytes < floor_bytes:
            return settle("cpu", "low_memory", f"{free} free, {format_bytes(floor_bytes)} needed: moved to cpu")
        if not on_gpu:
            return settle("cpu", "offloaded", "its weights are not on the gpu: moved to cpu", offloaded=True)
        return was
    if was.offloaded:
        if step != name:
            return was
        needed = format_bytes(resume_bytes + observation.weights_bytes.get(name, 0))
        return settle("cpu", "reloading", f"{free} free, {needed} needed with its weights: weights return to gpu")
    if not on_gpu and was.cause != "reloading":
        return settle("cpu", "offloaded", "its weights are not on the gpu: stays on cpu", offloaded=True)
    if not on_gpu and available_bytes < floor_bytes:
        words = f"{free} free, {format_bytes(floor_bytes)} needed: weights stay off the gpu"
        return settle("cpu", "offloaded", words, offloaded=True)
    if step == name:
        words = f"{free} free, {format_bytes(resume_bytes)} needed, for too long: weights leave the gpu"
        return settle("cpu", "offloaded", words, offloaded=True)
    if not on_gpu:
        return was
    if available_bytes < resume_bytes:
        return settle("cpu", "low_memory", f"{free} free, {format_bytes(resume_bytes)} needed: stays on cpu")
    if before.switched_s is not None and now_s - before.switched_s < config.dwell_s:
        words = f"{free} free, but its lane changed less than {format_seconds(config.dwell_s)} ago: stays on cpu"
        return settle("cpu", "dwell", words)
    return settle("gpu", "room", f"{free} free, {format_bytes(resume_bytes)} needed: moved to gpu")


def _settle(
    was: Decision, lane: Lane, cause: Cause, reason: str, now_s: float, *, free_bytes: int, offloaded: bool = False
) -> Decision:
    """Return `was` itself where nothing changed but the numbers, so that unchanged decisions compare equal."""
    if (was.lane, was.cause, was.offloaded) == (lane, cause, offloaded):
        return was
    return Decision(
        model=was.model,
        lane=lane,
        cause=cause,
        reason=reason,
        since_s=was.since_s if was.lane == lane else now_s,
        free_bytes=free_bytes,
        offloaded=offloaded,
    )


def _remember(
    before: ModelState, decision: Decision, config: PolicyConfig, observation: Observation, now_s: float
) -> ModelState:
    starved = decision.lane == "cpu" and observation.available_bytes(decision.model) < config.resume_above_bytes
    since_s = now_s if before.starved_since_s is None else before.starved_since_s
    return ModelState(
        decision=decision,
        switched_s=before.switched_s if decision.lane == before.decision.lane else now_s,
        starved_since_s=since_s if starved else None,
    )


def _offload_step(config: PolicyConfig, state: PolicyState, observation: Observation, now_s: float) -> str | None:
    """Return the one model whose turn it is to offload or to come back, or None.

    The two never compete: whoever may come back sees so much free memory that nobody starves.
    """
    if state.offload_step_s is not None and now_s - state.offload_step_s < config.dwell_s:
        return None
    resume_bytes = config.resume_above_bytes
    present = [(name, model) for name, model in state.models.items() if observation.has_replica(name)]
    for name, model in present:  # the first in order comes back first
        needed_bytes = resume_bytes + observation.weights_bytes.get(name, 0)
        if model.decision.offloaded and observation.free_bytes >= needed_bytes:
            return name
    if config.offload_after_s is None:
        return None
    for name, model in reversed(present):  # and offloads last
        since_s = model.starved_since_s
        if model.decision.offloaded or since_s is None or observation.available_bytes(name) >= resume_bytes:
            continue
        if now_s - since_s >= config.offload_after_s:
            return name
    return None
