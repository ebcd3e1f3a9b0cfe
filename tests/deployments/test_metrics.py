"""Metrics, samples and logs of Ray processes: metrics on the real endpoint, and logs in Serve's files."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from deployments.observability.metrics import RaySink
from tests.deployments.conftest import STARTERS, Client
from trivet.metrics import METRICS, OFFLOADS, RESIDENT

pytestmark = pytest.mark.ray

PROCESSES = {"ingress", "embedder-cpu", "reranker-cpu", "classifier-cpu"}
SECRET = "the harbour froze in January"


@pytest.fixture
def client(starters: Client) -> Client:
    return starters


def exported(wanted: str, timeout_s: float = 30) -> list[str]:
    """Wait until a line of the node's endpoint starts with `wanted`, then return Trivet's lines."""
    [node] = [node for node in ray.nodes() if node["Alive"]]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline_s = time.monotonic() + timeout_s
    while True:
        lines = httpx.get(url, timeout=10).text.splitlines()
        if any(line.startswith(wanted) for line in lines):
            return [line for line in lines if line.startswith("ray_trivet_")]
        assert time.monotonic() < deadline_s, f"no {wanted} within {timeout_s:g} s"
        time.sleep(0.5)


def test_the_sink_exports_every_metric_under_its_name(cluster: str) -> None:
    sink = RaySink()
    for metric in METRICS:
        labels = dict.fromkeys(metric.labels, "test-of-the-sink")
        report = {"counter": sink.count, "gauge": sink.set, "histogram": sink.observe}[metric.kind]
        for _ in range(2):
            report(metric, labels, 2)
    wanted = {metric.exported_name + ("_count" if metric.kind == "histogram" else "") for metric in METRICS}
    deadline_s = time.monotonic() + 30
    while missing := wanted - {line.partition("{")[0] for line in exported("ray_trivet_")}:
        assert time.monotonic() < deadline_s, missing
        time.sleep(0.5)
    counters = [line for line in exported(OFFLOADS.exported_name) if line.startswith(OFFLOADS.exported_name)]
    [counted] = [line for line in counters if 'model="test-of-the-sink"' in line]
    assert counted.split()[-1] == "4.0"


def test_counting_zero_creates_no_series(cluster: str) -> None:
    RaySink().count(OFFLOADS, {"model": "never", "step": "offload"}, 0)
    RaySink().set(RESIDENT, {"process": "later"}, 1)
    deadline_s = time.monotonic() + 30
    while not any('process="later"' in line for line in exported(RESIDENT.exported_name)):
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    assert not any('model="never"' in line for line in exported("ray_trivet_"))


def test_a_request_is_counted_by_ingress_and_replica(client: Client) -> None:
    assert client.post("/v1/embeddings", json={"input": ["a", "b c"]}).status_code == 200
    deadline_s = time.monotonic() + 30
    wanted = ['route="/v1/embeddings"', 'stage="forward"', *(f'process="{name}"' for name in PROCESSES)]
    while missing := [text for text in wanted if not any(text in line for line in exported("ray_trivet_"))]:
        assert time.monotonic() < deadline_s, missing
        time.sleep(0.5)
    tokens = [line for line in exported("ray_trivet_tokens_total") if line.startswith("ray_trivet_tokens_total{")]
    assert any('lane="cpu"' in line and 'model="embedder"' in line for line in tokens)


def test_the_answer_carries_the_request_id_once(client: Client) -> None:
    answer = client.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-id": "mine-1"})
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert len(client.get("/v1/models").headers.get_list("x-request-id")) == 1


def test_a_request_leaves_one_json_line_without_its_text(client: Client) -> None:
    client.post("/v1/embeddings", json={"input": SECRET}, headers={"x-request-id": "mine-2"})
    folder = Path("/tmp/ray", ray.get_runtime_context().get_session_name(), "logs", "serve")

    def lines_of_the_request() -> list[dict[str, Any]]:
        written = "".join(file.read_text() for file in folder.glob(f"replica_{STARTERS}_ingress_*.log"))
        return [json.loads(line) for line in written.splitlines() if '"mine-2"' in line]

    deadline_s = time.monotonic() + 10
    while not (lines := lines_of_the_request()):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    [line] = [line for line in lines if "http_route" in line]
    assert (line["http_route"], line["http_status"], line["lane"]) == ("/v1/embeddings", 200, "cpu")
    assert (line["deployment"], line["levelname"]) == (f"{STARTERS}_ingress", "INFO")
    assert line["calls"][0]["forward_ms"] > 0
    assert not any(SECRET in path.read_text() for path in folder.glob(f"replica_{STARTERS}_*.log"))


def test_serves_logging_config_applies_to_the_library(client: Client) -> None:
    folder = Path("/tmp/ray", ray.get_runtime_context().get_session_name(), "logs", "serve")
    files = list(folder.glob(f"replica_{STARTERS}_embedder-cpu_*.log"))  # a replica that was replaced has left one, too
    assert files
    for file in files:
        ready = [json.loads(line) for line in file.read_text().splitlines() if " ready on " in line]
        assert [line["deployment"] for line in ready] == [f"{STARTERS}_embedder-cpu"]
