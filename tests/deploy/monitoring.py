"""What is watched: rules and dashboard as the files in deploy have them, and what they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import yaml

from stream.metrics import Metrics

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULE_FILES: Final = (DEPLOY / "prometheus/recording.yml", DEPLOY / "prometheus/alerts.yml")
RUNBOOK: Final = DEPLOY / "RUNBOOK.md"
DASHBOARD: Final = DEPLOY / "grafana/dashboards/tinyt2.json"

SCRAPED: Final = {"job", "instance"}
"""Labels that Prometheus adds."""


def rules() -> list[dict[str, Any]]:
    """Return the recording and alert rules."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def exported() -> dict[str, set[str]]:
    """Return the series that a scrape or a recording rule makes, with their labels."""
    series = {"up": SCRAPED}
    registry = Metrics().registry
    # The registry has no public way to ask for the labels of what was never observed.
    labelled = {
        name: set(getattr(collector, "_labelnames", ()))
        for collector, names in registry._collector_to_names.items()
        for name in names
    }
    for family in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_count", "_sum", "_bucket"]}
        for suffix in suffixes.get(family.type, [""]):
            name = family.name + suffix
            series[name] = (
                SCRAPED | labelled.get(name, set()) | ({"le"} if suffix == "_bucket" else set())
            )
    for rule in rules():
        if "record" in rule:
            series[rule["record"]] = set(re.findall(r"by \(([^)]*)\)", rule["expr"])[0].split(", "))
    return series


def dashboard_queries() -> dict[str, str]:
    """Return the queries of the dashboard, Grafana's variables filled in, and their legends."""
    return {
        re.sub(
            r"\$\w+", "1m", query.replace('"$job"', '"tinyt2"').replace('"$instance"', '".*"')
        ): target["legendFormat"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
        for query in [target["expr"]]
    }


def faults(query: str, series: dict[str, set[str]], legend: str = "") -> list[str]:
    """Return what a query and its legend name that is not there: series, and labels of theirs."""
    found: list[str] = []
    labels = _check(promql.parse(query), series, found)
    found += [
        f"legend {label}" for label in re.findall(r"{{(\w+)}}", legend) if label not in labels
    ]
    return found


def _check(node: Any, series: dict[str, set[str]], found: list[str]) -> set[str]:
    """Return the labels that may come out of an expression; collect what is unknown."""
    if isinstance(node, promql.VectorSelector):
        if node.name not in series:
            found.append(str(node.name))
            return set()
        labels = series[node.name]
        found += [
            f"{node.name}{{{matcher.name}}}"
            for matcher in node.matchers.matchers
            if matcher.name not in labels | {"__name__"}
        ]
        return labels
    if isinstance(node, promql.MatrixSelector):
        return _check(node.vector_selector, series, found)
    if isinstance(node, promql.AggregateExpr):
        labels = _check(node.expr, series, found)
        if node.modifier is None:
            return set()
        assert node.modifier.type == promql.AggModifierType.By
        found += [f"by ({label}) in {node}" for label in set(node.modifier.labels) - labels]
        return set(node.modifier.labels)
    if isinstance(node, promql.BinaryExpr):
        left, right = (_check(side, series, found) for side in (node.lhs, node.rhs))
        return left | right
    children = node.args if isinstance(node, promql.Call) else [getattr(node, "expr", None)]
    return set().union(*(_check(c, series, found) for c in children if c is not None))
