"""Reports as files: what is written is read again, and what is no report is refused with reasons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.reports.report import (
    EnvironmentReport,
    Report,
    ReportError,
    RunReport,
    assemble,
    load,
    save,
)
from tests.unit.reports.made import a_report, a_run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = a_report({"two": 2, "four": 4}, seeds=(1, 2))
    save(report, tmp_path / "report.json")
    assert load(tmp_path / "report.json") == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_report_of_a_run_without_anything_is_read_again(tmp_path: Path) -> None:
    empty = Report(runs=[RunReport(environments={"a.b": EnvironmentReport()})])
    save(empty, tmp_path / "r.json")
    assert load(tmp_path / "r.json") == empty


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "r.json"
    with pytest.raises(ReportError, match=r"r\.json: cannot be written: No such file or directory"):
        save(Report(), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"none\.json: no such file; give the path of a report"):
        load(tmp_path / "none.json")


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("at,tokens\n1,2\n", "is cut short or no JSON", id="csv"),
        pytest.param("[1, 2]", "is JSON, but no report: a list", id="list"),
        pytest.param("{}", "no report: an object without keys", id="nothing"),
        pytest.param('{"models": {}}', "an object with the keys 'models'", id="config"),
        pytest.param(
            '{"format": 7, "made_by": "9.1", "runs": []}',
            "is of format 7, written by release 9.1; this release reads format 1",
            id="newer",
        ),
        pytest.param(
            '{"format": 1, "runs": [{"span_s": "long"}]}',
            r"no whole report: Expected `float`, got `str` - at `\$.runs\[0\]\.span_s`",
            id="wrong-type",
        ),
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=said):
        load(path)


def test_a_report_that_was_cut_off_is_refused_wherever_it_was(tmp_path: Path) -> None:
    save(a_report({"one": 1}, seeds=(1,)), tmp_path / "r.json")
    whole = (tmp_path / "r.json").read_bytes()
    for length in range(1, len(whole) - 2, len(whole) // 50):
        (tmp_path / "r.json").write_bytes(whole[:length])
        with pytest.raises(ReportError, match=r"r\.json: is (cut short or no JSON|JSON, but no)"):
            load(tmp_path / "r.json")


def test_fields_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    save(Report(experiment="x"), tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_bytes())
    (tmp_path / "r.json").write_text(json.dumps({**found, "more": 1}))
    assert load(tmp_path / "r.json").experiment == "x"


def test_only_the_first_seed_of_a_setting_keeps_its_course() -> None:
    report = assemble("x", [a_run(label, seed) for label in ("a", "b") for seed in (1, 2)])
    first, second, third, _ = report.runs
    for run in (first, third):
        assert run.whole.series is not None
        assert run.whole.decisions.kept
        assert run.whole.starts.kept
        assert run.pool.in_use
    assert second.whole.series is None
    assert not second.whole.decisions.kept
    assert not second.whole.starts.kept
    assert not second.pool.in_use
    assert second.whole.decisions.count == first.whole.decisions.count
    assert second.whole.latency.curve
