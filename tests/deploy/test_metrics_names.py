"""The dashboard, the alert rules and docs/metrics.md, compared with the exported metrics."""

import json
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from proxy.metrics.table import HOOK_OUTCOMES, METRICS, OUTCOMES

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/event-fabric.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPE = yaml.safe_load((ROOT / "deploy/prometheus/scrape.yml").read_text())
PAGE = (ROOT / "docs/metrics.md").read_text()

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    **{f"panel {panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
    **{f"annotation {each['name']}": each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each},
}

#: Words of PromQL that are no names of metrics: aggregations, functions, operators.
PROMQL = {
    "sum", "min", "max", "topk", "rate", "increase", "deriv", "changes", "absent", "by", "on", "and", "or", "unless",
}  # fmt: skip


def exported():
    """{name: labels}; of the library's process metrics, too. `up` is Prometheus' own."""
    names = {metric.name: {*metric.labels} for metric in METRICS} | {"up": set()}
    for family in ProcessCollector(registry=CollectorRegistry()).collect():
        names |= {sample.name: set() for sample in family.samples}
    return names


def words(query):
    """Identifiers outside of label matchers, groupings, ranges and strings."""
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", query)
    query = re.sub(r"\b(by|on)\s*\([^)]*\)", " ", query)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*", query)) - PROMQL


def test_every_query_uses_exported_metrics():
    known = exported()
    assert QUERIES
    for where, query in QUERIES.items():
        assert words(query), where
        assert words(query) <= known.keys(), where


def test_every_query_uses_exported_labels():
    labels = exported()
    for where, query in QUERIES.items():
        known = {"job", "instance"}.union(*(labels[name] for name in words(query)))
        matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
        groups = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query)
        grouped = [label for group in groups for label in re.split(r"[,\s]+", group)]
        assert {*matched, *grouped} <= known, where


def test_counters_are_queried_by_rate_or_increase():
    for where, query in QUERIES.items():
        for name in re.findall(r"\w+_total\b", query):
            assert re.search(rf"(rate|increase)\(\s*{name}(\{{[^}}]*\}})?\[", query), where


def test_values_of_labels_that_alerts_match_are_exported():
    for rule in RULES:
        for name, values in re.findall(r"(\w+)\{[^}]*outcome=~\"([^\"]*)\"", rule["expr"]):
            known = OUTCOMES if name == "fabric_messages_total" else HOOK_OUTCOMES
            assert set(values.split("|")) <= set(known), rule["alert"]


# The dashboard


def test_the_dashboard_can_be_imported():
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    assert DASHBOARD["schemaVersion"] >= 39
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_its_data_source_is_a_variable_everywhere():
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for panel in PANELS:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_its_variables_use_exported_metrics_and_labels():
    asked = [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    assert asked
    for query in asked:
        name, label = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", query).groups()
        assert label in {"job", "instance"} | exported()[name]


def test_its_panels_do_not_overlap_and_each_has_a_description():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]


# The rules


def test_every_alert_has_a_waiting_time_a_severity_and_instructions():
    assert RULES
    for rule in RULES:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"\d+[smh]", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert len(rule["annotations"]["description"]) > 100, rule["alert"]


def test_alerts_and_scrape_agree_about_the_job():
    assert [each["job_name"] for each in SCRAPE["scrape_configs"]] == ["event-fabric"]
    for rule in RULES:
        for matchers in re.findall(r"\{([^}]*)\}", rule["expr"]):
            assert 'job="event-fabric"' in matchers, rule["alert"]


def test_summaries_use_labels_that_the_alert_has():
    for rule in RULES:
        known = {"job", "instance"}.union(*(exported()[name] for name in words(rule["expr"])))
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= known, rule["alert"]


# The page


def test_the_page_has_every_metric_as_it_is():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `fabric_")]
    assert rows == [
        f"| `{metric.name}` | {metric.kind} | {' '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]


def test_the_page_names_the_process_metrics_and_every_alert():
    for name in [name for name in exported() if name.startswith("process_")]:
        assert f"`{name}`" in PAGE
    for rule in RULES:
        assert f"`{rule['alert']}`" in PAGE
