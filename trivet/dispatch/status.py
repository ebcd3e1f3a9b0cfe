"""What a dispatcher knows of its GPUs and lanes at this moment, without asking anybody. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trivet.config import AppConfig, VramConfig
from trivet.vram.snapshot import decision_for
from trivet.vram.types import Decision, Observation, Snapshot, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStatus:
    """One GPU: what was last read of it, and the decisions that follow."""

    device: str
    """A label for people, "simulated:0" included."""
    simulated: bool
    """True where the GPU is a model of one: its bytes are numbers, and the work runs on the CPU."""
    observation: Observation | None
    """None until the first reading arrives."""
    age_s: float | None
    """Since the last news of the GPU."""
    decisions: Mapping[str, Decision]
    """Per model: the decision that a request would meet now."""
    lane_age_s: Mapping[str, float | None]
    """Per model: how long its lane has been the same; None where nobody knows."""
    tenants: tuple[Tenant, ...] = ()
    """Other processes' models on the GPU, by their server's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """GPUs, and the settings behind the decisions about them."""

    gpus: tuple[GpuStatus, ...] = ()
    cpu_only_reason: str | None = None
    """Why no model has a GPU lane; None where one has."""
    policy: VramConfig = field(default_factory=VramConfig)


def gpu_status(
    snapshot: Snapshot | None, models: Sequence[str], now_s: float, config: AppConfig, *, node: str | None = None
) -> GpuStatus:
    """Read one GPU's latest snapshot, as stamped with the receiver's clock, at the receiver's `now_s`.

    `node` is the machine's name, where there are several.
    """
    on_node = f" on {node}" if node else ""
    decisions = {model: decision_for(snapshot, model, now_s, config.vram.grace_s) for model in models}
    simulated = config.device == "simulated"
    if snapshot is None:
        return GpuStatus(
            device=("simulated" if simulated else "GPU") + on_node,
            simulated=simulated,
            observation=None,
            age_s=None,
            decisions=decisions,
            lane_age_s=dict.fromkeys(models),
        )
    age_s = now_s - snapshot.at_s
    return GpuStatus(
        device=snapshot.device + on_node,
        simulated=simulated,
        observation=snapshot.observation,
        age_s=age_s,
        decisions=decisions,
        lane_age_s={model: _lane_age_s(snapshot, decisions[model], age_s) for model in models},
        tenants=snapshot.tenants,
    )


def cpu_only_reason(config: AppConfig) -> str:
    """Why only CPU lanes are bound, by the configuration."""
    if config.device == "cpu":
        return "The configuration says `device: cpu`, so no GPU is used."
    return f"The configuration says `device: {config.device}`, and no GPU was found when the service started."


def _lane_age_s(snapshot: Snapshot, decision: Decision, age_s: float) -> float | None:
    if snapshot.decisions.get(decision.model) is not decision:
        return None  # made here, for want of news
    # Both moments are of the sender's clock; only their difference means anything on this machine.
    return max(0.0, snapshot.observation.at_s - decision.since_s) + age_s
