"""Reads the shipped dashboard and rules for the tests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "ops" / "prometheus" / "alerts.yaml"
DASHBOARD_FILE = ROOT / "ops" / "grafana" / "trivet.json"

# Values for Grafana's variables.
VARIABLES = {"$__rate_interval": "15s", "$model": ".*"}


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD_FILE.read_text(encoding="utf-8"))
    return content


def panels() -> list[dict[str, Any]]:
    """Return the panels that have queries."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yield (title, query), with variables substituted."""
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield f"{panel['title']} {target['refId']}", query


def alerts() -> dict[str, dict[str, Any]]:
    """Return the rules by name."""
    groups = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def watched_by(expression: str) -> str:
    """Return the expression that a rule compares with its threshold; for `absent(x)`, x."""
    compared = re.fullmatch(r"(.*\S)\s*[<>]\s*[\d.]+\s*", expression, re.DOTALL)
    assert compared, f"no threshold at the end of {expression}"
    absent = re.fullmatch(r"absent\((.*)\)", compared[1])
    return absent[1] if absent else compared[1]


def metric_names(expression: str) -> set[str]:
    """Return the declared names of the metrics in an expression, without a histogram's suffixes."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bray_\w+", expression)}
