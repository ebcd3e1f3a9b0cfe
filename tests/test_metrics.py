"""The declarations keep to Prometheus' conventions, the documentation names each, and the sinks keep their promise."""

import re
from pathlib import Path

import pytest

from tests.support.memory_sink import MemorySink
from trivet.metrics import BATCH_SEQUENCES, METRICS, NO_METRICS, OFFLOADS, REQUESTS, VRAM_FREE, Metric

PAGE = Path(__file__).parent.parent / "docs" / "operations.md"

BASE_UNITS = {"seconds": "_seconds", "bytes": "_bytes"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"trivet(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    stem = metric.name.removesuffix("_total")
    assert stem.endswith(BASE_UNITS.get(metric.unit, ""))
    assert not re.search(r"_(ms|kib|mib|percent|ratio)\b", metric.name)
    assert metric.description
    assert metric.description[-1] != "."


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_histograms_and_only_they_have_ascending_boundaries(metric: Metric) -> None:
    assert bool(metric.boundaries) == (metric.kind == "histogram")
    assert list(metric.boundaries) == sorted(set(metric.boundaries))
    assert all(boundary > 0 for boundary in metric.boundaries)


def test_no_two_metrics_share_a_name() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_is_documented_with_its_kind_and_labels(metric: Metric) -> None:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
    row = rf"^\| `{metric.exported_name}` \| {metric.kind} \| {re.escape(labels)} \| \S.* \|$"
    assert re.search(row, PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_no_metric_is_documented_that_does_not_exist() -> None:
    documented = set(re.findall(r"^\| `(ray_trivet_\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == {metric.exported_name for metric in METRICS}


def test_the_memory_sink_keeps_what_it_is_told() -> None:
    sink = MemorySink()
    sink.count(OFFLOADS, {"model": "embedder", "step": "offload"})
    sink.count(OFFLOADS, {"step": "offload", "model": "embedder"}, 2)
    sink.set(VRAM_FREE, {"device": "simulated:0"}, 5)
    sink.set(VRAM_FREE, {"device": "simulated:0"}, 3)
    sink.observe(BATCH_SEQUENCES, {"model": "embedder", "lane": "cpu"}, 4)
    assert sink.value(OFFLOADS, model="embedder", step="offload") == 3
    assert sink.value(OFFLOADS, model="reranker", step="offload") == 0
    assert sink.value(VRAM_FREE, device="simulated:0") == 3
    assert sink.observed(BATCH_SEQUENCES, model="embedder", lane="cpu") == [4]
    assert sink.touched() == {OFFLOADS.name, VRAM_FREE.name, BATCH_SEQUENCES.name}


def test_the_memory_sink_refuses_what_an_endpoint_would() -> None:
    sink = MemorySink()
    with pytest.raises(ValueError, match="takes the labels"):
        sink.count(REQUESTS, {"route": "/"})
    with pytest.raises(ValueError, match="is a counter, not a gauge"):
        sink.set(OFFLOADS, {"model": "embedder", "step": "offload"}, 1)
    with pytest.raises(ValueError, match="counts up"):
        sink.count(OFFLOADS, {"model": "embedder", "step": "offload"}, -1)


def test_dropping_is_quiet() -> None:
    for metric in METRICS:
        NO_METRICS.count(metric, {})
        NO_METRICS.observe(metric, {}, 1)
        NO_METRICS.set(metric, {}, 1)
