"""Faults of a service on the CPU: every role killed, a replica frozen, a full disk, callers that disconnect."""

import asyncio
import random
import resource
import time
from pathlib import Path

import httpx
import pytest

from bench.support.served import Served
from tests.chaos.conftest import (
    BEFORE_S,
    Record,
    frozen_under_load,
    killed_under_load,
    until,
    waiting_tokens,
)
from tests.chaos.steady import bodies, steady_load

pytestmark = pytest.mark.chaos

ARGS = {"device": "cpu", "serving": {"ingress_replicas": 2}, "cache": {"memory": "1MiB", "disk": "64MiB"}}
PROXY_GAP_S = 10.0
"""Ray starts another proxy, which imports Ray first: 4.3 s on a machine that is at rest, 7 s on a busy one."""


def test_no_fault(service: Served, record: Record) -> None:
    with steady_load(service.url) as report:
        time.sleep(10)
    assert record("nothing, for comparison", report)["failed"] == 0


@pytest.mark.parametrize("role", ["embedder-cpu", "reranker-cpu", "classifier-cpu"])
def test_a_model_replica_is_killed(service: Served, record: Record, role: str) -> None:
    row = record(f"kill -9 {role}, the only lane", killed_under_load(service, role))
    assert row["failed"] == 0, row["failures"]


def test_the_controller_is_killed(service: Served, record: Record) -> None:
    row = record("kill -9 the controller", killed_under_load(service, "serve controller"))
    assert row["failed"] == 0, row["failures"]


def test_an_ingress_replica_is_killed(service: Served, record: Record) -> None:
    row = record("kill -9 one of two ingress replicas", killed_under_load(service, "ingress"))
    assert row["longest_gap_s"] <= PROXY_GAP_S


@pytest.mark.parametrize("role", ["serve proxy", "haproxy manager", "haproxy"])
def test_a_proxy_is_killed(service: Served, record: Record, role: str) -> None:
    if not service.processes(role):
        pytest.skip(f"this service has no {role}")
    row = record(f"kill -9 the {role}", killed_under_load(service, role))
    assert row["longest_gap_s"] <= PROXY_GAP_S, row


def test_a_replica_freezes_for_20_s(service: Served, record: Record) -> None:
    row = record("reranker-cpu, the only lane, frozen for 20 s", frozen_under_load(service, "reranker-cpu"))
    assert row["failed"] == 0, row["failures"]


def test_the_disk_is_full(service: Served, record: Record) -> None:
    """A limit prevents the ingress from enlarging files, as a full disk would prevent it for the cache's file."""
    ingresses = service.processes("ingress")
    _send_new_texts(service.url, 4)  # the first writes open the file
    file = next(
        Path(opened.path)
        for ingress in ingresses
        for opened in ingress.open_files()
        if opened.path.endswith(".sqlite3")
    )
    limits = [ingress.rlimit(resource.RLIMIT_FSIZE) for ingress in ingresses]
    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        for ingress, (_, hard) in zip(ingresses, limits, strict=True):
            ingress.rlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
        try:
            _send_new_texts(service.url, 20)
        finally:
            for ingress, limit in zip(ingresses, limits, strict=True):
                ingress.rlimit(resource.RLIMIT_FSIZE, limit)
        service.wait_ready()
    row = record("the disk of the results cache is full", report)
    assert row["failed"] == 0, row["failures"]


def _send_new_texts(url: str, count: int) -> None:
    """Send texts that are not cached yet, so that their results are written."""
    for number in range(count):
        text = f"a new text, number {number} of {time.monotonic()}"
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": text}, timeout=30)
        assert answer.status_code == 200, answer.text
        time.sleep(0.2)


def test_callers_disconnect(service: Served, record: Record) -> None:
    """As many additional callers disconnect at random times of their requests, and leave nothing in the queues."""

    async def leave(number: int, until_s: float) -> int:
        left = 0
        rng = random.Random(number)
        source = bodies(1000 + number)
        # Without certificates: sixteen callers who load them keep this process busy for half of the time.
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            while time.monotonic() < until_s:
                path, body = next(source)
                try:
                    await client.post(path, json=body, timeout=rng.uniform(0.002, 0.2))
                except httpx.TimeoutException:
                    left += 1
                await asyncio.sleep(0.2)
        return left

    async def leave_all() -> list[int]:
        until_s = time.monotonic() + 12
        return await asyncio.gather(*(leave(number, until_s) for number in range(16)))

    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        left = sum(asyncio.run(leave_all()))
    row = record("as many other callers hang up, one after another", report)
    assert left > 100
    assert row["failed"] == 0, row["failures"]
    until(lambda: waiting_tokens(service) == 0, "empty queue")
