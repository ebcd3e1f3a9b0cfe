"""`trivet serve` with the shipped file: announces its URL, finishes open requests, and leaves no process behind."""

import signal
import time

import httpx
import psutil
import pytest

from bench.support.served import served
from deployments.service.host_memory import tree
from tests.deployments.in_flight import requests_in_flight

RAY_HEALTH_LIMIT_S = 3
"""Ray kills a HAProxy that misses three health checks, one per second (deployments/environment/ray.env)."""

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize("stopped_by", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.chaos)])
def test_it_announces_its_url_finishes_open_requests_and_leaves_no_process(stopped_by: signal.Signals) -> None:
    with served({"device": "cpu"}) as service:
        answer = httpx.post(f"{service.url}/v1/embeddings", json={"input": "hello"}, timeout=60)
        assert answer.status_code == 200, answer.text
        members = tree(service.root)
        assert len(members) > 5

        deadline_s = time.monotonic() + 30  # it polls the models' readiness twice a second
        while f"Trivet listens on {service.url}" not in service.log.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline_s, service.log.read_text(encoding="utf-8")
            time.sleep(0.1)

        with requests_in_flight(service) as statuses:
            service.root.send_signal(stopped_by)
            time.sleep(2 * RAY_HEALTH_LIMIT_S)
            assert not any(status.done() for status in statuses)
            assert httpx.get(f"{service.url}/readyz", timeout=10).status_code == 503
        assert [status.result() for status in statuses] == [200] * len(statuses)
        _, left = psutil.wait_procs(members, timeout=60)
        assert left == []


@pytest.mark.chaos
def test_a_second_signal_stops_it_immediately_and_leaves_no_process() -> None:
    with served({"device": "cpu"}) as service:
        members = tree(service.root)
        with requests_in_flight(service) as statuses:
            for _ in range(5):  # the first starts draining, the second ends it, the others change nothing
                service.root.send_signal(signal.SIGINT)
                time.sleep(0.5)
            service.root.wait(60)
            _, left = psutil.wait_procs(members, timeout=2)  # the parent exits last
        assert left == []
        assert all(status.exception() for status in statuses)
        assert "giving up open requests" in service.log.read_text(encoding="utf-8")
