"""Reports snapshots of the GPU as metrics."""

from collections.abc import Sequence

from trivet.metrics import (
    LANE_DECISIONS,
    VRAM_EXTERNAL,
    VRAM_FREE,
    VRAM_OURS,
    VRAM_READABLE,
    VRAM_REUSABLE,
    VRAM_TENANT,
    VRAM_TOTAL,
    MetricsSink,
)
from trivet.vram.types import Observation, Snapshot, Tenant


def measure_snapshot(sink: MetricsSink, before: Snapshot | None, after: Snapshot) -> None:
    """Set the gauges to the GPU's state in `after`, and count the decisions that changed since `before`.

    Sets no sizes while the GPU is unreadable: zeros would look like a full GPU.
    """
    observation = after.observation
    device = {"device": observation.device}
    sink.set(VRAM_READABLE, device, float(observation.known))
    if observation.known:
        _measure_gpu(sink, observation, device)
        for model in after.decisions:
            if not observation.has_replica(model):  # otherwise its last figures would never change again
                sink.set(VRAM_OURS, {**device, "model": model}, 0)
                sink.set(VRAM_REUSABLE, {**device, "model": model}, 0)
    for model, decision in after.decisions.items():
        if before is None or before.decisions.get(model) != decision:
            sink.count(LANE_DECISIONS, {"model": model, "lane": decision.lane, "cause": decision.cause})


def _measure_gpu(sink: MetricsSink, observation: Observation, device: dict[str, str]) -> None:
    sink.set(VRAM_TOTAL, device, observation.total_bytes)
    sink.set(VRAM_FREE, device, observation.free_bytes)
    if observation.external_bytes is not None:
        sink.set(VRAM_EXTERNAL, device, observation.external_bytes)
    for model, held_bytes in observation.ours_bytes.items():
        sink.set(VRAM_OURS, {**device, "model": model}, held_bytes)
    for model, reusable_bytes in observation.reusable_bytes.items():
        sink.set(VRAM_REUSABLE, {**device, "model": model}, reusable_bytes)


def measure_tenants(sink: MetricsSink, before: Sequence[Tenant], after: Sequence[Tenant], device: str) -> None:
    """Report the memory of each model in another server (Ollama); a model that was unloaded holds 0."""
    held_bytes = dict.fromkeys((tenant.label for tenant in before), 0)
    held_bytes |= {tenant.label: tenant.vram_bytes for tenant in after}
    for name, size_bytes in held_bytes.items():
        sink.set(VRAM_TENANT, {"device": device, "tenant": name}, size_bytes)
