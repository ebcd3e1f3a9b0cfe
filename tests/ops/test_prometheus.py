"""With a real Prometheus: after a short load every panel and every rule has data, and the counts match the load."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.ops.collector import TRACE_ID, Collector
from tests.ops.conftest import Observed, tool
from tests.ops.files import ROOT, RULES_FILE, alerts, metric_names, panel_queries, watched_by
from trivet.metrics import (
    ABANDONED_TOKENS,
    CACHE_DISK_FAILURES,
    CPU_RESTS,
    FORWARD_FAILURES,
    INTERRUPTIONS,
    LAST_RESORTS,
    METRICS,
    TRIMS,
    UNREAD_ANSWERS,
    VRAM_TENANT,
)

pytestmark = [pytest.mark.prometheus, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

RARE = {
    metric.exported_name
    for metric in (
        CACHE_DISK_FAILURES,
        FORWARD_FAILURES,
        VRAM_TENANT,
        INTERRUPTIONS,
        ABANDONED_TOKENS,
        UNREAD_ANSWERS,
        TRIMS,
        CPU_RESTS,
        LAST_RESORTS,
    )
}
"""Metrics that this load need not touch. Tenants need an Ollama server, only ModernBERT's architecture runs forwards in
steps (tests/engine/scheduling/test_scheduler.py covers them), and the last four need a caller who does not read, an
idle neighbour of a full GPU, `cpu.rest_after_s`, and a CPU replica that is down."""


def test_rules_and_configuration_are_valid() -> None:
    subprocess.run([tool("promtool"), "check", "config", ROOT / "ops/prometheus/prometheus.yaml"], check=True)


def test_each_alert_fires_only_on_its_own_problem(tmp_path: Path) -> None:
    promtool = tool("promtool")
    (tmp_path / "alerts.yaml").write_text(RULES_FILE.read_text())
    story = Path(__file__).with_name("alerts_test.yaml").read_text()
    (tmp_path / "alerts_test.yaml").write_text(story)
    assert all(f"alertname: {name}\n" in story for name in alerts())
    done = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yaml"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_request_was_lost(observed: Observed) -> None:
    assert {answer.status_code for answer in observed.answers} == {200}


@pytest.mark.parametrize("panel", [title for title, _ in panel_queries()])
def test_every_panel_has_data(observed: Observed, panel: str) -> None:
    assert observed.series(dict(panel_queries())[panel])


@pytest.mark.parametrize("alert", alerts())
def test_every_rule_watches_something(observed: Observed, alert: str) -> None:
    assert observed.series(watched_by(alerts()[alert]["expr"]))


def test_prometheus_evaluates_every_rule(observed: Observed) -> None:
    [group] = observed.get("/api/v1/rules")["groups"]
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == dict.fromkeys(alerts(), "ok")


def test_every_declared_metric_arrives_under_its_name_and_with_its_labels(observed: Observed) -> None:
    missing = set()
    for metric in METRICS:
        suffix = "_count" if metric.kind == "histogram" else ""
        series = observed.series(metric.exported_name + suffix)
        if not series:
            missing.add(metric.exported_name)
        assert all(set(metric.labels) <= set(one["metric"]) for one in series)
    assert missing <= RARE


def test_requests_are_counted_exactly(observed: Observed) -> None:
    [counted] = observed.series('sum(ray_trivet_requests_total{status="200", route!~"/v1/status|/readyz"})')
    assert float(counted["values"][-1][1]) == len(observed.answers)
    routes = {
        series["metric"]["route"]: series["metric"]["dialect"]
        for series in observed.series('sum by (route, dialect) (ray_trivet_requests_total{status="200"})')
    }
    native = ("/v1/status", "/v1/embeddings", "/v1/relations", "/v1/graph")
    assert routes == {**dict.fromkeys(native, "native"), "/rerank": "tei"}


def test_the_metrics_show_the_shortage_and_the_return(observed: Observed) -> None:
    causes = {series["metric"]["cause"] for series in observed.series("sum by (cause) (ray_trivet_reroutes_total)")}
    assert causes & {"low_memory", "gpu_refused"}
    assert "offloaded" in causes
    splits = observed.series('sum(ray_trivet_oom_splits_total{model="embedder"})')
    assert float(splits[0]["values"][-1][1]) >= 1
    [lane] = observed.series('min(ray_trivet_lane_on_gpu{model="embedder"})')
    states = [value for _, value in lane["values"]]
    assert "1" in states
    assert "0" in states
    assert states[-1] == "1"
    [external] = observed.series("max(ray_trivet_vram_external_bytes)")
    assert max(float(value) for _, value in external["values"]) > 6 * 1024**3


def test_each_request_leaves_one_json_line(observed: Observed) -> None:
    written = "".join(file.read_text() for file in observed.logs.glob("replica_default_ingress_*.log"))
    every = [json.loads(line) for line in written.splitlines()]
    lines = [line for line in every if line.get("http_method") == "POST" and line["http_status"] == 200]
    assert len(lines) == len(observed.answers)
    assert {line["request_id"] for line in lines} >= {"embedding", "composed"}
    composed = next(line for line in lines if line["request_id"] == "composed")
    assert [call["model"] for call in composed["calls"]] == ["reranker", "classifier"]
    assert all(call["forward_ms"] > 0 for call in composed["calls"])
    rerouted = [line for line in lines if line["reroute_reason"]]
    assert rerouted
    assert all(line["lane"] for line in lines)
    assert "worker 3 took" not in written


def test_a_callers_trace_continues_in_ingress_and_replicas(observed: Observed, collector: Collector | None) -> None:
    if collector is None:
        pytest.skip("the exporter is not installed: pip install '.[traces]'")
    served = {span.name for span in collector.spans if span.trace_id.hex() == TRACE_ID}
    assert "POST /v1/relations" in served
    for model in ("reranker", "classifier"):
        assert served & {f"replica_handle_request {name} run" for name in (model, f"{model}-cpu")}
    assert not any("cats" in str(span) for span in collector.spans)


def test_metric_names_are_found_in_queries() -> None:
    assert metric_names('rate(ray_trivet_stage_seconds_bucket{a="b"}[5m])') == {"ray_trivet_stage_seconds"}
