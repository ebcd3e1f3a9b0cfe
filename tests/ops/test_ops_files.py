"""Dashboard and rules, without a server: their metrics exist, and the panels do not overlap."""

import re
from itertools import combinations
from typing import Any

import pytest

from tests.ops.files import ROOT, alerts, dashboard, metric_names, panel_queries, panels, watched_by
from trivet.metrics import METRICS

DECLARED = {metric.exported_name: metric for metric in METRICS}
OF_RAY = {"ray_serve_deployment_replica_healthy"}
OF_RAY_LABELS = {"application", "deployment"}
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_query_reads_metrics_that_exist() -> None:
    queries = [*dict(panel_queries()).values(), *(rule["expr"] for rule in alerts().values())]
    assert set().union(*map(metric_names, queries)) <= set(DECLARED) | OF_RAY


def test_every_metric_is_drawn() -> None:
    drawn: set[str] = set().union(*(metric_names(query) for _, query in panel_queries()))
    assert set(DECLARED) - drawn == set()


@pytest.mark.parametrize(("title", "query"), list(panel_queries()))
def test_queries_group_by_labels_that_their_metrics_have(title: str, query: str) -> None:
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.split(",")}
    known = {label for name in metric_names(query) & set(DECLARED) for label in DECLARED[name].labels}
    assert grouped <= known | {"le"} | OF_RAY_LABELS, title


def test_averages_are_never_made_from_histogram_sums() -> None:
    # Ray estimates them from the middles of the buckets.
    assert not any("_sum" in query for _, query in panel_queries())


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)
    assert not [(a["title"], b["title"]) for a, b in combinations(every, 2) if _overlap(a["gridPos"], b["gridPos"])]


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(
        a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    )


def test_the_data_source_can_be_chosen() -> None:
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("name", alerts())
def test_every_alert_has_texts_and_is_documented(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert metric_names(watched_by(rule["expr"])) <= set(DECLARED)
    assert f"| `{name}` |" in PAGE
