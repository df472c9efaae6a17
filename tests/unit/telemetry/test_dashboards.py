"""List of metrics, dashboard, alerts and docs stay in step; Prometheus' own tool agrees."""

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from orchestrator.lifecycle.replica import Stage
from orchestrator.observatory.exposition import Exposition
from orchestrator.observatory.totals import Observed
from orchestrator.telemetry import metrics
from orchestrator.telemetry.metrics import Kind
from orchestrator.telemetry.monitoring.alerts import ALERTS, rules
from orchestrator.telemetry.monitoring.dashboard import dashboard
from orchestrator.telemetry.monitoring.document import metrics_document
from orchestrator.telemetry.monitoring.expressions import NAMESPACE, Promql
from orchestrator.telemetry.monitoring.files import files, write

ROOT = Path(__file__).parents[3]
SCENARIOS = Path(__file__).with_name("alert_scenarios.yaml")
PROMTOOL_LIMIT_S = 60

SERIES = re.compile(r"(?<![\w\"])(orchestrator_\w+)(?:\{([^}]*)\})?")
SELECTED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
KEPT = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        missing = "promtool is not on PATH: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def check(promtool: str, *arguments: str) -> None:
    done = subprocess.run(
        [promtool, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROMTOOL_LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard_expressions() -> list[str]:
    targets = [target for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    variables = [each["query"] for each in dashboard()["templating"]["list"]]
    return [
        *(target["expr"] for target in targets),
        *(query for query in variables if query.startswith("label_values(")),
    ]


def used(expression: str) -> Iterator[tuple[metrics.Metric, set[str]]]:
    """The metrics of an expression, each with the labels that are selected of it."""
    for name, inside in SERIES.findall(expression):
        base = name
        if name not in metrics.BY_NAME:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert metrics.BY_NAME[base].kind is Kind.HISTOGRAM, name
        yield metrics.BY_NAME[base], set(SELECTED.findall(inside))


def names_used(expressions: list[str]) -> set[str]:
    return {metric.name for expression in expressions for metric, _ in used(expression)}


@pytest.mark.parametrize("name", files())
def test_a_committed_file_is_what_the_list_of_metrics_makes(name: str) -> None:
    made = files()[name]
    assert (ROOT / name).read_text(encoding="utf-8") == made, (
        f"{name} is out of date: python -m orchestrator.telemetry.monitoring"
    )


def test_the_files_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in written) == sorted(files())
    assert all(path.read_text(encoding="utf-8") for path in written)


def test_every_metric_is_on_the_dashboard_and_in_the_docs() -> None:
    everything = {metric.name for metric in metrics.ALL}
    assert names_used(dashboard_expressions()) == everything
    document = metrics_document()
    assert [name for name in everything if f"`{name}`" not in document] == []
    assert [alert.name for alert in ALERTS if alert.runbook not in document] == []


@pytest.mark.parametrize(
    "expression", [*dashboard_expressions(), *(alert.expression for alert in ALERTS)]
)
def test_an_expression_uses_labels_that_its_metrics_have(expression: str) -> None:
    found = list(used(expression))
    assert found
    for metric, selected in found:
        assert selected <= {*metric.labels, NAMESPACE}, metric.name
    kept = {label.strip() for each in KEPT.findall(expression) for label in each.split(",")}
    known = {label for metric, _ in found for label in metric.labels}
    assert kept <= known | {NAMESPACE, "le"}


def test_an_expression_with_an_unknown_label_or_the_wrong_kind_is_not_written() -> None:
    ql = Promql("5m")
    with pytest.raises(ValueError, match="orchestrator_requests_total has no label 'path'"):
        ql.rate(metrics.REQUESTS, "path")
    with pytest.raises(ValueError, match="has no label 'path'"):
        ql.rate(metrics.REQUESTS, where='path!="/"')
    with pytest.raises(ValueError, match="is a gauge, not a counter"):
        ql.rate(metrics.WAITING)


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = dashboard()["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert max(x for x, _ in cells) < 24


def test_alerts_compare_with_words_that_the_system_uses() -> None:
    text = json.dumps(rules())
    assert f'stage=\\"{Stage.READY.value}\\"' in text
    part = re.findall(r'part=\\"(\w+)\\"', text)
    assert set(part) <= set(metrics.PARTS)


def test_promtool_accepts_alerts_and_every_expression_of_the_dashboard(
    promtool: str, tmp_path: Path
) -> None:
    made = rules()
    made["groups"].append(
        {
            "name": "dashboard",
            "rules": [
                {"record": f"test:panel:{number}", "expr": with_values(expression)}
                for number, expression in enumerate(dashboard_expressions())
                if not expression.startswith("label_values(")
            ],
        }
    )
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps(made), encoding="utf-8")
    check(promtool, "check", "rules", "--lint-fatal", str(path))


def test_promtool_has_nothing_against_what_is_exposed(promtool: str) -> None:
    counters, gauges, observed = {}, {}, {}
    for metric in metrics.ALL:
        key = (metric.name, tuple(f'a {label}, "quoted" \\' for label in metric.labels))
        if metric.kind is Kind.COUNTER:
            counters[key] = 3.0
        elif metric.kind is Kind.GAUGE:
            gauges[key] = 0.5
        else:
            observed[key] = Observed([1] * (len(metric.buckets) + 1), 4.5, {})
    _, text = Exposition(counters, observed, gauges).written("text/plain")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        check=False,
        timeout=PROMTOOL_LIMIT_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    for metric in metrics.ALL:
        assert f"# TYPE {metric.name} {metric.kind.value}\n".encode() in text


def with_values(expression: str) -> str:
    """An expression as Grafana sends it: its variables are replaced."""
    replaced = expression.replace("$__rate_interval", "1m")
    return re.sub(r"\$(namespace|model|environment)", ".*", replaced)


def test_every_alert_comes_on_and_stays_off_as_its_scenarios_say(
    promtool: str, tmp_path: Path
) -> None:
    scenarios = YAML(typ="safe").load(SCENARIOS)
    cases = [case for test in scenarios["tests"] for case in test["alert_rule_test"]]
    for alert in ALERTS:
        expected = [case["exp_alerts"] for case in cases if case["alertname"] == alert.name]
        assert any(expected), f"no scenario in which {alert.name} is on"
        assert not all(expected), f"no scenario in which {alert.name} is off"
    (tmp_path / "rules.yaml").write_text(json.dumps(rules()), encoding="utf-8")
    path = tmp_path / "scenarios.yaml"
    path.write_text(json.dumps(with_annotations(scenarios)), encoding="utf-8")
    check(promtool, "test", "rules", str(path))


def with_annotations(scenarios: dict[str, Any]) -> dict[str, Any]:
    """The scenarios, with what the alerts say put in: promtool compares that too."""
    alerts = {alert.name: alert for alert in ALERTS}
    made = copy.deepcopy(scenarios)
    made["rule_files"] = ["rules.yaml"]
    for case in (case for test in made["tests"] for case in test["alert_rule_test"]):
        for expected in case["exp_alerts"]:
            alert = alerts[case["alertname"]]
            values = {**expected["exp_labels"], "value": str(expected.pop("value", ""))}
            expected["exp_annotations"] = {
                "summary": filled(alert.summary, values),
                "runbook": alert.runbook,
            }
    return made


def filled(template: str, values: dict[str, str]) -> str:
    """A template of Prometheus' with its fields replaced."""
    return re.sub(
        r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}", lambda found: values[found.group(1)], template
    )
