"""`orchestrator compare`: what it prints, what it warns of, what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from orchestrator import cli
from orchestrator.reports.report import Report, save
from tests.unit.reports.made import a_report, a_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `two.json` and `four.json`: the same setting, with so many replicas."""
    folder = tmp_path_factory.mktemp("reports")
    for name, replicas in (("two", 2), ("four", 4)):
        save(a_report({"setting": replicas}, name=name), folder / f"{name}.json")
    both = a_report({"few": 2, "many": 4}, name="both")
    save(both, folder / "both.json")
    return folder


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])


def test_metrics_stand_side_by_side_with_their_ratio(reports: Path) -> None:
    done = compare(reports / "two.json", reports / "four.json")
    assert done.exit_code == 0, done.output
    header, *lines = done.stdout.splitlines()
    assert header.split("  ")[0] == "metric"
    assert "A: setting" in header
    assert "B: setting" in header
    [hours] = [line for line in lines if line.startswith("GPU-hours")]
    assert hours.split()[1:4] == ["2.00", "4.00", "2.000"]
    assert hours.rstrip().endswith("beyond the seeds' spread")
    assert done.stderr == ""


def test_two_settings_of_one_report_are_compared(reports: Path) -> None:
    done = compare(reports / "both.json", "--a", "few", "--b", "many", "--json")
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)["comparisons"]
    assert (found["a"], found["b"], found["paired"]) == ("few", "many", True)
    [hours] = [each for each in found["metrics"] if each["metric"] == "gpu_hours"]
    assert hours["ratio"] == 2.0
    assert hours["verdict"] == "beyond"


def test_reports_of_other_traffic_are_compared_with_a_warning(
    reports: Path, tmp_path: Path
) -> None:
    save(Report(runs=[a_run("setting", 1, rate=3.0)]), tmp_path / "more.json")
    done = compare(reports / "two.json", tmp_path / "more.json")
    assert done.exit_code == 0, done.output
    assert "warning: the traffic differs" in done.stderr
    assert "GPU-hours" in done.stdout


def test_a_page_with_both_is_written(reports: Path, tmp_path: Path) -> None:
    done = compare(reports / "two.json", reports / "four.json", "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "page.html").read_text()
    assert "setting against setting" in text
    assert "A: setting" in text
    assert "B: setting" in text
    assert f"page: {tmp_path / 'page.html'}" in done.stderr.replace("\n", "")


def test_one_report_without_labels_says_which_there_are(reports: Path) -> None:
    done = compare(reports / "both.json")
    assert done.exit_code == cli.REFUSED
    assert "--a and --b say which of its settings to compare; it has 'few', 'many'" in done.stderr


def test_what_is_no_report_is_refused(reports: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_bytes((reports / "two.json").read_bytes()[:500])
    done = compare(reports / "two.json", tmp_path / "torn.json")
    assert done.exit_code == cli.REFUSED
    assert "torn.json: is cut short or no JSON" in done.stderr
    assert done.stdout == ""


def test_settings_without_a_common_label_are_refused(reports: Path) -> None:
    done = compare(reports / "two.json", reports / "both.json", "--a", "nothing")
    assert done.exit_code == cli.REFUSED
    assert "the first report has no label 'nothing'; it has 'setting'" in done.stderr
