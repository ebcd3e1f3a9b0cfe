"""Snapshots of the decisions: when the VRAM actor sends one, and how the ingress reads it. Pure and cheap.

A snapshot is sent whenever a decision changes, and at least every `heartbeat_s`. The ingress keeps the last snapshot of
every GPU and calls `placement_for` for every request, without any remote call. A snapshot older than the grace
period sends requests to the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trivet.gpu import GpuId
from trivet.units import format_seconds
from trivet.vram.policy import PolicyState
from trivet.vram.types import Decision, Observation, Snapshot


def next_snapshot(
    last: Snapshot | None, state: PolicyState, observation: Observation, now_s: float, *, heartbeat_s: float
) -> Snapshot | None:
    """Return the snapshot to send at `now_s`, or None if nothing changed and the heartbeat is not due.

    `heartbeat_s` should be at most a third of the receivers' grace period.
    """
    decisions = state.decisions
    changed = last is None or last.decisions != decisions
    if last is not None and not changed and now_s - last.at_s < heartbeat_s:
        return None
    return Snapshot(
        version=(last.version if last else 0) + (1 if changed else 0),
        at_s=now_s,
        device=observation.device,
        decisions=decisions,
        observation=observation,
    )


def decision_for(snapshot: Snapshot | None, model: str, now_s: float, grace_s: float) -> Decision:
    """Return the decision for `model` at `now_s`: the CPU if there is no snapshot, or only one older than `grace_s`.

    `now_s` and `snapshot.at_s` are times of the receiver's clock; see `Snapshot.received`.
    """
    if snapshot is None:
        return _on_cpu(model, now_s, "no decision about the GPU has arrived yet")
    decision = snapshot.decisions.get(model)
    if decision is None:
        return _on_cpu(model, now_s, "the GPU's decisions do not name this model")
    age_s = now_s - snapshot.at_s
    if age_s > grace_s and decision.lane == "gpu":
        return _on_cpu(model, now_s, f"the last decision about the GPU is {format_seconds(age_s)} old")
    return decision


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request for one model goes now: to one of `gpus`, or to the CPU if there is none."""

    gpus: Mapping[GpuId, tuple[str, ...]]
    """The GPUs with room, and the ids of the model's replicas on each."""
    decision: Decision
    """The decision of the first GPU; for the CPU, the reasons why no GPU is used."""


def placement_for(snapshots: Mapping[GpuId, Snapshot | None], model: str, now_s: float, grace_s: float) -> Placement:
    """Return where a request for `model` goes now, by the latest snapshot of every GPU.

    Decisions are made for each GPU separately. A request goes to the CPU only if no GPU has room. A GPU that could not
    be read last time (its last decision holds for the grace period) is used only if no other has room.
    """
    decisions = {gpu: decision_for(latest, model, now_s, grace_s) for gpu, latest in snapshots.items()}
    room = {gpu: latest for gpu, latest in snapshots.items() if latest is not None and decisions[gpu].lane == "gpu"}
    if room:
        readable = {gpu: latest for gpu, latest in room.items() if latest.observation.known} or room
        gpus = {gpu: latest.replicas.get(model, ()) for gpu, latest in readable.items()}
        return Placement(gpus, decisions[next(iter(gpus))])
    if not decisions:
        return Placement({}, decision_for(None, model, now_s, grace_s))
    # A GPU that this model was not placed on says nothing about why the others are not used.
    placed = [decision for decision in decisions.values() if decision.cause != "absent"] or list(decisions.values())
    if len(placed) == 1:
        return Placement({}, placed[0])
    reasons = dict.fromkeys(decision.reason for decision in placed)
    return Placement({}, replace(placed[0], reason="; ".join(reasons)))


def last_resort(
    snapshots: Mapping[GpuId, Snapshot | None], model: str, now_s: float, grace_s: float
) -> Mapping[GpuId, tuple[str, ...]]:
    """Return the GPUs to ask if no CPU replica answers although no GPU has room, and the model's replicas on each.

    These are the GPUs that can be read and hold the weights. A forward may still find memory there; if it does not, the
    replica refuses.
    """
    found: dict[GpuId, tuple[str, ...]] = {}
    for gpu, latest in snapshots.items():
        if latest is None or now_s - latest.at_s > grace_s or model not in latest.decisions:
            continue
        seen = latest.observation
        loaded = seen.known and seen.has_replica(model) and model not in seen.offloaded and model not in seen.stuck
        if loaded and not latest.decisions[model].offloaded:
            found[gpu] = latest.replicas.get(model, ())
    return found


def next_choice(left: Mapping[GpuId, tuple[str, ...]], refused: GpuId) -> Mapping[GpuId, tuple[str, ...]]:
    """Return which of the GPUs that are `left` to ask after one refused: those of its node, else all of them."""
    return {gpu: replicas for gpu, replicas in left.items() if gpu.node == refused.node} or left


def _on_cpu(model: str, now_s: float, why: str) -> Decision:
    return Decision(
        model=model,
        lane="cpu",
        cause="no_reading",
        reason=f"{model}: {why}: goes to cpu",
        since_s=now_s,
        free_bytes=0,
    )
