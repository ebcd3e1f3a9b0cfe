"""Decides which lane each model uses. Pure: (config, last state, observation, now) → next state.

    lane  condition, checked in this order at each tick                         next
    any   GPU unreadable for at most grace_s (at the start: since the start)    unchanged
    any   GPU unreadable for longer                                             cpu no_reading; offloaded is unchanged
    any   no GPU replica of this model is alive                                 cpu absent
    any   its replica cannot compute on the GPU                                 cpu unusable; offloaded
    any   its replica does not answer now, unless offloaded                     cpu stuck
    gpu   reachable < reroute_below                                             cpu low_memory
    gpu   weights not on the GPU                                                cpu offloaded
    gpu   otherwise (including between the two thresholds)                      gpu room
    cpu   offloaded; free ≥ resume_above + weights, and it is its turn          cpu reloading: requests a reload
    cpu   offloaded, otherwise                                                  cpu offloaded
    cpu   weights not on the GPU, and no reload was requested                   cpu offloaded: adopts the fact
    cpu   reloading, weights not loaded yet, and available < reroute_below      cpu offloaded: abandons the reload
    cpu   available < resume_above for offload_after_s, and it is its turn      cpu offloaded: requests an offload
    cpu   reloading, weights not loaded yet                                     cpu reloading
    cpu   available < resume_above                                              cpu low_memory
    cpu   lane changed less than dwell_s ago                                    cpu dwell
    cpu   otherwise                                                             gpu room

The memory *available* to a model is the GPU's free memory plus the unused part of what its own allocator holds. The
memory *reachable* for it is that plus what idle replicas beside it return to a GPU that is short of memory
(`trivet.vram.trim`).

Three properties, each verified by a test:

1. No model is on the GPU below the floor. After a tick that read the GPU, no model with less than
   `reroute_below_bytes` reachable is on the GPU lane. The dwell therefore never delays a move to the CPU.
2. One switch per dwell. A switch to the GPU is the only optional one, and it waits until the model's lane has been
   unchanged for `dwell_s`. Any half-open window of `dwell_s` thus contains at most one switch to the GPU. A second
   switch in that window is always forced, and goes to the CPU: the model fell below the floor, the GPU became
   unreadable, the replica does not answer, or the weights or the replica are gone. A model that left the GPU stays away
   for at least `dwell_s`.
3. Monotone in free memory. From the same state at the same time, more free memory never turns a GPU decision into a
   CPU decision. (Over whole histories no policy with a dwell can be monotone: a model that left the GPU earlier, for
   lack of memory, may also return earlier.)

Offloading trades a slower return for memory: after `offload_after_s` without room, a model's weights leave the GPU. The
memory that this frees is not enough to reload them, because a reload needs the weights *on top of* the resume
threshold. Models are offloaded from the end of the configured order and reloaded from its beginning, at most one step
per `dwell_s`. So two models never count on the same free bytes, and the most important model is offloaded last.

The policy starts conservatively: every model is on the CPU until a good reading shows room and a GPU replica. A policy
that resumes after a crash (`resumed=True`) does not know when lanes last changed, so it also waits for one dwell. It
can observe which models are offloaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trivet.config import Lane
from trivet.errors import ConfigError
from trivet.units import MIB, format_bytes, format_seconds
from trivet.vram.types import Cause, Decision, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Thresholds and times, the same for every model. Raises `ConfigError` if they contradict each other."""

    reroute_below_bytes: int = 500 * MIB
    """The floor: a model with less than this reachable leaves the GPU immediately."""
    resume_above_bytes: int = 1024 * MIB
    """A model returns when at least this much is available."""
    dwell_s: float = 5.0
    """How long a lane must be unchanged before a switch to the GPU, and the minimum time between two offload steps."""
    grace_s: float = 5.0
    """How long the last decisions hold without a good reading; then everything moves to the CPU."""
    offload_after_s: float | None = 60.0
    """How long a model lacks room before its weights are offloaded; None: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.reroute_below_bytes <= self.resume_above_bytes:
            raise ConfigError(
                f"resume_above ({format_bytes(self.resume_above_bytes)}) must be at least "
                f"reroute_below ({format_bytes(self.reroute_below_bytes)})"
            )
        if self.dwell_s < 0 or self.grace_s <= 0 or (self.offload_after_s is not None and self.offload_after_s <= 0):
            raise ConfigError(
                f"dwell_s ({self.dwell_s:g}) must be at least 0; grace_s ({self.grace_s:g}) and offload_after_s "
                f"({self.offload_after_s}) must be above 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """The policy's state of one model between ticks."""

    decision: Decision
    switched_s: float | None
    """When the lane last changed; None if it never did, so that the first switch need not wait."""
    starved_since_s: float | None = None
    """Since when a model on the CPU lane has had less than the resume threshold; None if it has enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """The policy's state between ticks. `models` is ordered: the first is offloaded last."""

    models: Mapping[str, ModelState]
    last_read_s: float
    """When the GPU was last read; the start time before the first reading."""
    offload_step_s: float | None = None
    """When an offload or a reload was last requested."""

    @property
    def decisions(self) -> dict[str, Decision]:
        """The decision per model, in the models' order."""
        return {name: state.decision for name, state in self.models.items()}


def initial_state(models: Sequence[str], now_s: float, *, resumed: bool = False) -> PolicyState:
    """Return the state before the first reading: every model on the CPU.

    `resumed`: the state of an earlier policy is lost, so a return to the GPU waits for one dwell.
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
    """Return the state after one tick; its `decisions` are the new decisions.

    `now_s` and `observation.at_s` are seconds of the same monotonic clock. An observation older than `grace_s` counts
    as unreadable.
    """
    if not observation.known or now_s - observation.at_s > config.grace_s:
        return _decide_unread(config, state, observation, now_s)
    step = _offload_step(config, state, observation, now_s)
    models = {
        name: _next_state(before, _decide_read(config, before, observation, now_s, step), config, observation, now_s)
        for name, before in state.models.items()
    }
    return PolicyState(
        models=models,
        last_read_s=max(state.last_read_s, observation.at_s),
        offload_step_s=state.offload_step_s if step is None else now_s,
    )


def changes(before: PolicyState, after: PolicyState) -> tuple[Decision, ...]:
    """Return the decisions of `after` that differ from those of `before`."""
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
        if not decision.offloaded:  # an offloaded model is on the CPU for a reason that still holds
            verb = "moved to" if decision.lane == "gpu" else "stays on"
            reason = f"{name}: no reading of the GPU for {format_seconds(blind_s)} ({why}): {verb} cpu"
            decision = _transition(decision, "cpu", "no_reading", reason, now_s, free_bytes=0)
        models[name] = ModelState(
            decision=decision,
            switched_s=before.switched_s if decision.lane == before.decision.lane else now_s,
        )
    return replace(state, models=models)


def _decide_read(
    config: PolicyConfig, before: ModelState, observation: Observation, now_s: float, step: str | None
) -> Decision:
    """Apply the table at the head of this module to one model and a good reading."""
    was = before.decision
    name = was.model
    available_bytes = observation.available_bytes(name)
    floor_bytes, resume_bytes = config.reroute_below_bytes, config.resume_above_bytes
    on_gpu = name not in observation.offloaded
    free = format_bytes(available_bytes)

    def transition(lane: Lane, cause: Cause, why: str, *, offloaded: bool = False) -> Decision:
        return _transition(was, lane, cause, f"{name}: {why}", now_s, free_bytes=available_bytes, offloaded=offloaded)

    if not observation.has_replica(name):
        verb = "moved to" if was.lane == "gpu" else "stays on"
        return transition("cpu", "absent", f"no GPU replica is alive: {verb} cpu")
    if name in observation.unusable:
        verb = "moved to" if was.lane == "gpu" else "stays on"
        return transition("cpu", "unusable", f"{observation.unusable[name]}: {verb} cpu", offloaded=True)
    if name in observation.stuck and not was.offloaded:
        verb = "moved to" if was.lane == "gpu" else "stays on"
        return transition("cpu", "stuck", f"{observation.stuck[name]}: {verb} cpu")
    if was.lane == "gpu":
        reachable_bytes = observation.reachable_bytes(name)
        if reachable_bytes < floor_bytes:
            found = format_bytes(reachable_bytes)
            return transition("cpu", "low_memory", f"{found} free, {format_bytes(floor_bytes)} needed: moved to cpu")
        if not on_gpu:
            return transition("cpu", "offloaded", "its weights are not on the gpu: moved to cpu", offloaded=True)
        return was
    if was.offloaded:
        if step != name:
            return was
        needed = format_bytes(resume_bytes + observation.weights_bytes.get(name, 0))
        return transition("cpu", "reloading", f"{free} free, {needed} needed with its weights: weights return to gpu")
    if not on_gpu and was.cause != "reloading":
        return transition("cpu", "offloaded", "its weights are not on the gpu: stays on cpu", offloaded=True)
    if not on_gpu and available_bytes < floor_bytes:
        why = f"{free} free, {format_bytes(floor_bytes)} needed: weights stay off the gpu"
        return transition("cpu", "offloaded", why, offloaded=True)
    if step == name:
        why = f"{free} free, {format_bytes(resume_bytes)} needed, for too long: weights leave the gpu"
        return transition("cpu", "offloaded", why, offloaded=True)
    if not on_gpu:
        return was
    if available_bytes < resume_bytes:
        return transition("cpu", "low_memory", f"{free} free, {format_bytes(resume_bytes)} needed: stays on cpu")
    if before.switched_s is not None and now_s - before.switched_s < config.dwell_s:
        why = f"{free} free, but its lane changed less than {format_seconds(config.dwell_s)} ago: stays on cpu"
        return transition("cpu", "dwell", why)
    return transition("gpu", "room", f"{free} free, {format_bytes(resume_bytes)} needed: moved to gpu")


def _transition(
    was: Decision, lane: Lane, cause: Cause, reason: str, now_s: float, *, free_bytes: int, offloaded: bool = False
) -> Decision:
    """Return the new decision, or `was` itself if only numbers changed, so that unchanged decisions compare equal."""
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


def _next_state(
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
    """Return the one model whose turn it is to be offloaded or reloaded, or None.

    The two never compete: where a model may be reloaded, so much memory is free that no model is starved.
    """
    if state.offload_step_s is not None and now_s - state.offload_step_s < config.dwell_s:
        return None
    resume_bytes = config.resume_above_bytes
    present = [
        (name, model)
        for name, model in state.models.items()
        if observation.has_replica(name) and name not in observation.unusable and name not in observation.stuck
    ]
    for name, model in present:  # the first in order is reloaded first
        needed_bytes = resume_bytes + observation.weights_bytes.get(name, 0)
        if model.decision.offloaded and observation.free_bytes >= needed_bytes:
            return name
    if config.offload_after_s is None:
        return None
    for name, model in reversed(present):  # and offloaded last
        since_s = model.starved_since_s
        if model.decision.offloaded or since_s is None or observation.available_bytes(name) >= resume_bytes:
            continue
        if now_s - since_s >= config.offload_after_s:
            return name
    return None
