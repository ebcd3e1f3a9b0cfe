"""Faults of a service with a simulated GPU: replicas and the VRAM actor killed or frozen, the driver hung."""

import time
from pathlib import Path

import pytest

from bench.support.served import Served
from tests.chaos.conftest import AFTER_S, BEFORE_S, FROZEN_S, Record, frozen_under_load, killed_under_load, one, until
from tests.chaos.steady import steady_load

pytestmark = pytest.mark.chaos

ARGS = {"device": "simulated", "serving": {"ingress_replicas": 2}}


@pytest.mark.parametrize("role", ["embedder", "reranker", "classifier"])
def test_a_gpu_replica_is_killed(service: Served, record: Record, role: str) -> None:
    row = record(f"kill -9 {role} on the GPU", killed_under_load(service, role))
    assert row["failed"] == 0, row["failures"]


def test_the_vram_actor_is_killed(service: Served, record: Record) -> None:
    row = record("kill -9 the VRAM actor", killed_under_load(service, "vram-actor"))
    assert row["failed"] == 0, row["failures"]


def test_a_gpu_replica_freezes_for_20_s(service: Served, record: Record) -> None:
    """Requests that wait for it, and those that come, go to the CPU before it answers again."""
    report = frozen_under_load(service, "embedder")
    row = record("embedder on the GPU frozen for 20 s", report)
    assert row["failed"] == 0, row["failures"]
    assert any("silent" in (answer.reroute_reason or "") for answer in report.answers), "nothing was rerouted"
    assert row["slowest_s"] < FROZEN_S, "what waited for it was left waiting"


def test_the_driver_hangs(service: Served, record: Record) -> None:
    """NVML does not answer for 15 s: work goes to the CPU, with a reason, and returns."""
    ledger = next(
        Path(opened.path) for opened in one(service, "vram-actor").open_files() if opened.path.endswith(".ledger")
    )
    hangs = ledger.with_name(f"{ledger.name}.hangs")
    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        hangs.touch()
        try:
            time.sleep(15)
        finally:
            hangs.unlink()
        back_s = time.monotonic()
        until(lambda: _all_on_gpu(service), "return to the GPU")
        time.sleep(AFTER_S)
    row = record("NVML hangs for 15 s", report)
    assert row["failed"] == 0, row["failures"]
    on_cpu = [answer for answer in report.answers if answer.reroute_reason and answer.sent_s < back_s]
    assert on_cpu, "nothing was rerouted"


def _all_on_gpu(service: Served) -> bool:
    return all(entry["route"].endswith("moved to gpu") for entry in service.wait_ready()["models"].values())
