import logging

import pytest

from tests.vram.fakes import GIB, MIB, Clock, ShownProbe
from trivet.vram.monitor import Monitor
from trivet.vram.policy import PolicyConfig

CONFIG = PolicyConfig(dwell_s=5.0, grace_s=5.0)


def test_a_squeeze_is_logged_once_per_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="trivet.vram")
    clock = Clock()
    probe = ShownProbe(clock, 4 * GIB)
    monitor = Monitor(probe, CONFIG, ["embedder"], clock, heartbeat_s=1.0)
    versions = []
    for free_bytes in [4 * GIB] * 4 + [250 * MIB] * 4 + [6 * GIB] * 16:
        probe.free_bytes = free_bytes
        snapshot = monitor.tick()
        if snapshot is not None:
            versions.append(snapshot.version)
        clock.advance(0.5)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "embedder: 4 GiB free, 1 GiB needed: moved to gpu"),
        ("WARNING", "embedder: 250 MiB free, 500 MiB needed: moved to cpu"),
        ("INFO", "embedder: 6 GiB free, but its lane changed less than 5 s ago: stays on cpu"),
        ("INFO", "embedder: 6 GiB free, 1 GiB needed: moved to gpu"),
    ]
    assert versions == [1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4]
    assert monitor.latest is not None
    assert monitor.latest.version == 4


def test_heartbeats_continue_while_the_gpu_is_unreadable() -> None:
    """Receivers can thus distinguish an unreadable GPU from a dead monitor."""
    clock = Clock()
    probe = ShownProbe(clock, 4 * GIB)
    monitor = Monitor(probe, CONFIG, ["embedder"], clock, heartbeat_s=1.0)
    monitor.tick()
    probe.unknown_reason = "NVML did not answer within 1 s"
    lanes = []
    for _ in range(8):
        clock.advance(1.0)
        snapshot = monitor.tick()
        assert snapshot is not None
        lanes.append(snapshot.decisions["embedder"].lane)
        assert snapshot.observation.unknown_reason == probe.unknown_reason
    assert lanes == ["gpu"] * 5 + ["cpu"] * 3


def test_a_resumed_monitor_waits_for_one_dwell() -> None:
    clock = Clock()
    probe = ShownProbe(clock, 4 * GIB)
    monitor = Monitor(probe, CONFIG, ["embedder"], clock, resumed=True)
    first = monitor.tick()
    assert first is not None
    assert first.decisions["embedder"].cause == "dwell"
    clock.advance(5.0)
    second = monitor.tick()
    assert second is not None
    assert second.decisions["embedder"].lane == "gpu"


def test_a_lost_replica_is_a_warning_but_a_replica_not_started_yet_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="trivet.vram")
    clock = Clock()
    probe = ShownProbe(clock, 4 * GIB)
    monitor = Monitor(probe, CONFIG, ["embedder"], clock)
    for present in (frozenset[str](), frozenset({"embedder"}), frozenset[str]()):
        probe.present = present
        monitor.tick()
        clock.advance(1.0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "embedder: no GPU replica is alive: stays on cpu"),
        ("INFO", "embedder: 4 GiB free, 1 GiB needed: moved to gpu"),
        ("WARNING", "embedder: no GPU replica is alive: moved to cpu"),
    ]
