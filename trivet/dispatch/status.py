"""The state of GPUs and lanes as this process knows it already. Pure; makes no call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from trivet.config import AppConfig, Lane, ReplicaBounds, VramConfig
from trivet.gpu import GpuId
from trivet.messages import ModelCard
from trivet.vram.snapshot import decision_for
from trivet.vram.types import Decision, Observation, Snapshot, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStatus:
    """One GPU: its last reading and the decisions that follow from it."""

    device: str
    """Human-readable label, such as "simulated:0"."""
    gpu: GpuId | None
    """None where the state is not of a cluster's GPU."""
    simulated: bool
    """Whether the GPU is simulated: its bytes are only numbers, and the work runs on the CPU."""
    observation: Observation | None
    """None until the first reading arrives."""
    age_s: float | None
    """Time since the last snapshot of the GPU arrived."""
    decisions: Mapping[str, Decision]
    """Per model: the decision that applies to a request now."""
    lane_age_s: Mapping[str, float | None]
    """Per model: time since its lane last changed; None where that is unknown."""
    tenants: tuple[Tenant, ...] = ()
    """Models of other processes on the GPU, as their server reports them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCount:
    """How many CPU replicas of a model there are."""

    running: int | None
    """None before that is known."""
    bounds: ReplicaBounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """GPUs, and the settings behind the decisions about them."""

    gpus: tuple[GpuStatus, ...] = ()
    cpu_only_reason: str | None = None
    """Why no model has a GPU lane; None where one has."""
    policy: VramConfig = field(default_factory=VramConfig)
    cpu_replicas: Mapping[str, ReplicaCount] = field(default_factory=dict)
    """Per model; empty where no replicas serve."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that the service opens besides its own, by purpose; empty where they are not known."""


def merged_card(cards: Mapping[Lane, ModelCard], before: ModelCard | None = None) -> ModelCard | None:
    """Return one card of what a model's lanes report: the CPU's, and how the GPU computes it.

    `before` is what was merged last: a GPU replica that does not answer for a moment is still described. None if
    nothing is known.
    """
    card = cards.get("cpu") or cards.get("gpu") or before
    told = next((one for one in (cards.get("gpu"), before) if one is not None and one.gpu is not None), None)
    if card is None or told is None:
        return card
    return replace(card, gpu=told.gpu, gpu_bytes=told.gpu_bytes)


def gpu_status(
    snapshot: Snapshot | None,
    models: Sequence[str],
    now_s: float,
    config: AppConfig,
    *,
    gpu: GpuId | None = None,
    node: str | None = None,
) -> GpuStatus:
    """Describe a GPU by its latest snapshot. The snapshot's arrival and `now_s` are times of the receiver's clock.

    `node` is the machine's name, where there are several.
    """
    on_node = f" on {node}" if node else ""
    decisions = {model: decision_for(snapshot, model, now_s, config.vram.grace_s) for model in models}
    simulated = config.device == "simulated"
    if snapshot is None:
        return GpuStatus(
            device=("simulated" if simulated else "GPU") + on_node,
            gpu=gpu,
            simulated=simulated,
            observation=None,
            age_s=None,
            decisions=decisions,
            lane_age_s=dict.fromkeys(models),
        )
    age_s = now_s - snapshot.at_s
    return GpuStatus(
        device=snapshot.device + on_node,
        gpu=gpu,
        simulated=simulated,
        observation=snapshot.observation,
        age_s=age_s,
        decisions=decisions,
        lane_age_s={model: _lane_age_s(snapshot, decisions[model], age_s) for model in models},
        tenants=snapshot.tenants,
    )


def cpu_only_reason(config: AppConfig, cpu_torch: str | None = None) -> str:
    """Return why the configuration leads to CPU lanes only; `cpu_torch` as in `trivet.gpu.torch_without_cuda`."""
    if config.device == "cpu":
        return "The configuration says `device: cpu`, so no GPU is used."
    if cpu_torch is not None:
        return f"The installed torch {cpu_torch} is a build without CUDA, so no GPU can be used."
    return f"The configuration says `device: {config.device}`, and no GPU was found when the service started."


def _lane_age_s(snapshot: Snapshot, decision: Decision, age_s: float) -> float | None:
    if snapshot.decisions.get(decision.model) is not decision:
        return None  # not the sender's decision: made here, since the snapshot is missing or too old
    # Both are times of the sender's clock; only their difference is meaningful on this machine.
    return max(0.0, snapshot.observation.at_s - decision.since_s) + age_s
