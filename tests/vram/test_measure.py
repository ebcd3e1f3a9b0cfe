"""Snapshots as metrics: the sizes of a readable GPU, no sizes of an unreadable one, and changes counted once."""

from dataclasses import replace
from datetime import UTC, datetime

from tests.support.memory_sink import MemorySink
from trivet.config import Lane
from trivet.metrics import (
    LANE_DECISIONS,
    VRAM_EXTERNAL,
    VRAM_FREE,
    VRAM_OURS,
    VRAM_READABLE,
    VRAM_REUSABLE,
    VRAM_TENANT,
    VRAM_TOTAL,
)
from trivet.vram.measure import measure_snapshot, measure_tenants
from trivet.vram.types import Cause, Decision, Observation, Snapshot, Tenant

DEVICE = "0: a GPU"
SEEN = Observation(
    at_s=1.0,
    device=DEVICE,
    total_bytes=800,
    free_bytes=300,
    ours_bytes={"embedder": 100, "reranker": 150},
    external_bytes=250,
    reusable_bytes={"embedder": 10},
)


def decision(lane: Lane, cause: Cause) -> Decision:
    return Decision(model="embedder", lane=lane, cause=cause, reason="because", since_s=0.0, free_bytes=0)


def snapshot(*decisions: Decision, observation: Observation = SEEN) -> Snapshot:
    return Snapshot(
        version=1,
        at_s=1.0,
        device=DEVICE,
        decisions={decision.model: decision for decision in decisions},
        observation=observation,
    )


def test_all_sizes_of_a_readable_gpu_are_reported() -> None:
    sink = MemorySink()
    measure_snapshot(sink, None, snapshot())
    assert sink.value(VRAM_READABLE, device=DEVICE) == 1
    assert sink.value(VRAM_TOTAL, device=DEVICE) == 800
    assert sink.value(VRAM_FREE, device=DEVICE) == 300
    assert sink.value(VRAM_EXTERNAL, device=DEVICE) == 250
    assert sink.value(VRAM_OURS, device=DEVICE, model="reranker") == 150
    assert sink.value(VRAM_REUSABLE, device=DEVICE, model="embedder") == 10


def test_a_model_without_a_replica_is_reported_with_zero_bytes() -> None:
    sink = MemorySink()
    measure_snapshot(sink, None, snapshot(decision("gpu", "room")))
    gone = replace(SEEN, ours_bytes={}, reusable_bytes={}, present=frozenset({"reranker"}))
    measure_snapshot(sink, None, snapshot(decision("cpu", "low_memory"), observation=gone))
    assert sink.value(VRAM_OURS, device=DEVICE, model="embedder") == 0
    assert sink.value(VRAM_REUSABLE, device=DEVICE, model="embedder") == 0
    assert sink.value(VRAM_OURS, device=DEVICE, model="reranker") == 150


def test_an_unreadable_gpu_reports_no_sizes() -> None:
    sink = MemorySink()
    measure_snapshot(sink, None, snapshot(observation=Observation.unknown(at_s=1.0, device=DEVICE, reason="no driver")))
    assert sink.touched() == {VRAM_READABLE.name}
    assert sink.value(VRAM_READABLE, device=DEVICE) == 0


def test_unknown_external_memory_is_not_reported() -> None:
    sink = MemorySink()
    unattributed = Observation(at_s=1.0, device=DEVICE, total_bytes=800, free_bytes=300)
    measure_snapshot(sink, None, snapshot(observation=unattributed))
    assert VRAM_EXTERNAL.name not in sink.touched()


def test_a_decision_is_counted_when_it_changes_and_not_with_each_heartbeat() -> None:
    sink = MemorySink()
    snapshots = [
        snapshot(decision("gpu", "room")),
        snapshot(decision("gpu", "room")),
        snapshot(decision("cpu", "low_memory")),
        snapshot(decision("gpu", "room")),
    ]
    for before, after in zip([None, *snapshots], snapshots, strict=False):
        measure_snapshot(sink, before, after)
    assert sink.value(LANE_DECISIONS, model="embedder", lane="gpu", cause="room") == 2
    assert sink.value(LANE_DECISIONS, model="embedder", lane="cpu", cause="low_memory") == 1


def test_a_tenant_that_was_unloaded_is_reported_with_zero_bytes() -> None:
    sink = MemorySink()
    until = datetime(2026, 1, 2, tzinfo=UTC)
    first, second = (Tenant(name=name, vram_bytes=size, expires_at=until) for name, size in (("a", 5), ("b", 7)))
    measure_tenants(sink, (), (first,), DEVICE)
    measure_tenants(sink, (first,), (second,), DEVICE)
    assert sink.value(VRAM_TENANT, device=DEVICE, tenant="a") == 0
    assert sink.value(VRAM_TENANT, device=DEVICE, tenant="b") == 7
