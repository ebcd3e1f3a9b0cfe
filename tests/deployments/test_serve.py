"""`trivet serve` with the shipped file: it says where it listens, answers what it accepted, leaves nothing behind."""

import signal
import time

import httpx
import psutil
import pytest

from bench.support.served import served
from tests.deployments.under_way import requests_under_way
from trivet.doctor.host_memory import tree

RAYS_PATIENCE_S = 3
"""A HAProxy that does not answer three health checks, one a second, is killed by Ray (deployments/environment/ray.env).
"""

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize("asked_by", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.chaos)])
def test_it_starts_says_so_answers_and_ends_with_every_process(asked_by: signal.Signals) -> None:
    with served({"device": "cpu"}) as service:
        answer = httpx.post(f"{service.url}/v1/embeddings", json={"input": "hello"}, timeout=60)
        assert answer.status_code == 200, answer.text
        members = tree(service.root)
        assert len(members) > 5

        deadline_s = time.monotonic() + 30  # it looks twice a second whether the models answer
        while f"Trivet listens on {service.url}" not in service.log.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline_s, service.log.read_text(encoding="utf-8")
            time.sleep(0.1)

        with requests_under_way(service) as statuses:
            service.root.send_signal(asked_by)
            time.sleep(2 * RAYS_PATIENCE_S)
            assert not any(status.done() for status in statuses)
            assert httpx.get(f"{service.url}/readyz", timeout=10).status_code == 503
        assert [status.result() for status in statuses] == [200] * len(statuses)
        _, left = psutil.wait_procs(members, timeout=60)
        assert left == []


@pytest.mark.chaos
def test_who_is_asked_again_does_not_wait_and_leaves_nothing_behind() -> None:
    with served({"device": "cpu"}) as service:
        members = tree(service.root)
        with requests_under_way(service) as statuses:
            for _ in range(5):  # the first starts the drain, the second ends it, the rest change nothing
                service.root.send_signal(signal.SIGINT)
                time.sleep(0.5)
            service.root.wait(60)
            _, left = psutil.wait_procs(members, timeout=2)  # it is the last to go
        assert left == []
        assert all(status.exception() for status in statuses)
        said = service.log.read_text(encoding="utf-8")
        assert "requests under way are given up" in said
