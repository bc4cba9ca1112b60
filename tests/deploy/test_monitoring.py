"""Rules and dashboard name what the service exports; every alert has its section in the runbook."""

from __future__ import annotations

import re

import pytest

from tests.deploy.monitoring import RUNBOOK, dashboard_queries, exported, faults, rules

ALERTS = [rule for rule in rules() if "alert" in rule]


def test_every_rule_names_what_is_exported() -> None:
    series = exported()
    assert {rule["expr"]: faults(rule["expr"], series) for rule in rules()} == {
        rule["expr"]: [] for rule in rules()
    }


def test_every_query_of_the_dashboard_names_what_is_exported() -> None:
    series = exported()
    queries = dashboard_queries()
    assert len(queries) > 20
    found = {query: faults(query, series, legend) for query, legend in queries.items()}
    assert found == {query: [] for query in queries}


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("rate(tinyt2_alert_total[5m])", "tinyt2_alert_total"),
        ('rate(tinyt2_alerts_total{result="classified"}[5m])', "tinyt2_alerts_total{result}"),
        ("sum by (topic) (tinyt2_alerts_total)", "by (topic)"),
        ("1 - (tinyt2_published_total / tinyt2_published)", "tinyt2_published"),
        ("histogram_quantile(0.5, sum by (le) (tinyt2_published_total))", "by (le)"),
    ],
)
def test_a_query_of_something_else_is_found(query: str, fault: str) -> None:
    (found,) = faults(query, exported())
    assert found.startswith(fault)


def test_a_legend_of_something_else_is_found() -> None:
    query = "sum by (survey) (tinyt2_alerts_total)"
    assert faults(query, exported(), "{{survey}} {{topic}}") == ["legend topic"]


def test_every_alert_names_its_section_of_the_runbook() -> None:
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"deploy/RUNBOOK.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in {"critical", "warning"}


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    sections = re.split(r"(?m)^## (Tinyt2\w+)\n", RUNBOOK.read_text())
    assert sections[1::2] == [alert["alert"] for alert in ALERTS]
    for text in sections[2::2]:
        assert all(f"**{part}**" in text for part in ("Meaning", "Look", "Do"))
