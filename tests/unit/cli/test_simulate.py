"""`orchestrator simulate`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from orchestrator import cli
from orchestrator.cli import experiments_extra
from orchestrator.cli.narrow import fitted
from orchestrator.reports.report import load
from orchestrator.reports.tables import Rows
from tests.unit.simulator.experiments import SMALL

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from typer.testing import Result

DELAY = "environments.*.autoscaling.scale_down_delay"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("small.yaml")
    path.write_text(f"description: To see.\n{SMALL}sweep: {{{DELAY}: [0, 60]}}\n", encoding="utf-8")
    return path


def simulate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["simulate", *map(str, arguments), "--jobs", "1"])


def test_each_point_has_a_row_with_means_over_the_seeds(file):
    done = simulate(file, "--seeds", "1,2")
    assert done.exit_code == 0, done.output
    title, header, first, second, last = done.stdout.splitlines()
    assert title == "small To see."
    for name in ("setting", "seeds", "requests", "latency p99", "cold", "GPU-hours", "utilisation"):
        assert name in header
    assert first.startswith("scale_down_delay=0 ")
    assert second.startswith("scale_down_delay=60 ")
    assert "±" in first
    assert last.startswith("4 runs, ")
    assert done.stderr == ""


def test_a_row_for_each_environment_where_that_is_asked_for(file):
    done = simulate(file, "--by-environment", "--set", f"{DELAY}=5")
    assert done.exit_code == 0, done.output
    rows = [line.split()[:2] for line in done.stdout.splitlines()[2:4]]
    assert rows == [["small", "code"], ["small", "chat"]]


def test_a_narrow_terminal_loses_intervals_first_and_then_the_least_of_the_columns():
    header = ["setting", "seeds", "requests", "latency p50", "latency p99", "cost"]
    row = ["policy=panic", "3 seeds", "1,024 ± 3", "540 ± 5 ms", "2.43 ± 0.64 s", "1.20 ± 0.05"]
    rows = Rows(header, [row], 2)
    assert fitted(rows, 200) == rows
    assert fitted(rows, 70).rows == [
        ["policy=panic", "3 seeds", "1,024", "540 ms", "2.43 s", "1.20"],
    ]
    assert fitted(rows, 45) == Rows(
        ["setting", "requests", "latency p99", "cost"],
        [["policy=panic", "1,024", "2.43 s", "1.20"]],
        1,
    )
    assert fitted(rows, 10).header == ["setting", "latency p99", "cost"]


def test_json_is_the_whole_report_and_nothing_else(file):
    done = simulate(file, "--json", "--set", f"{DELAY}=[5]", "--set", f"{DELAY}=5")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["experiment"] == "small"
    assert [run["label"] for run in report["runs"]] == ["small"]
    assert report["runs"][0]["environments"]["code"]["requests"] > 50


def test_report_and_page_are_written_where_that_is_asked_for(file):
    done = simulate(file, "--out", "report.json", "--html", "page.html", "--seeds", "1")
    assert done.exit_code == 0, done.output
    assert len(load(Path("report.json")).runs) == 2
    assert "scale_down_delay=60" in Path("page.html").read_text(encoding="utf-8")
    assert done.stderr.splitlines() == ["report: report.json", "page: page.html"]
    there = sorted(path.name for path in Path().iterdir())
    assert there == ["page.html", "report.json", "small.yaml"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent.yaml"], "error: absent.yaml: no such file; give the path of a YAML file"),
        (["small.yaml", "--seeds", "1;2"], "--seeds: must be whole numbers with commas"),
        (["small.yaml", "--seeds", "1,1"], "--set: seeds: must have each seed once"),
        (["small.yaml", "--set", "pool.gpus"], "--set: must be path=value"),
        (["small.yaml", "--set", "pool.gpus=0.5"], "must be at most pool.gpus (0.5)"),
        (
            ["small.yaml", "--set", "environments.code.arrivals={trace: {file: absent.csv}}"],
            "absent.csv",
        ),
        (["small.yaml", "--out", "no/report.json"], "--out: must be a file in a folder that there"),
        (["small.yaml", "--html", "."], "--html: must be a file in a folder that there is; got ."),
        (["small.yaml", "--seeds", "1", "--out", "/proc/report.json"], "/proc/report.json: cannot"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_would_be_right(file, arguments, sentence):
    done = simulate(*arguments)
    assert done.exit_code == cli.REFUSED, done.output
    assert sentence in done.stderr
    assert "Traceback" not in done.output


def test_a_run_that_fails_on_the_way_names_itself(file):
    Path("starts.json").write_text("[]", encoding="utf-8")
    done = simulate(file, "--set", "environments.code.cold_start={recorded: starts.json}")
    assert done.exit_code == cli.FAILED
    assert "error: scale_down_delay=0, seed 1: starts.json: has no start" in done.stderr


def test_what_looks_wrong_with_a_trace_is_said_before_it_runs(file):
    rows = "".join(f"{at * 1000}\n" for at in range(1, 200))
    Path("table.csv").write_text(f"at\n{rows}", encoding="utf-8")
    trace = "{trace: {file: table.csv, format: table, columns: {at: at}}, time_scale: 1e-9}"
    done = simulate(file, "--seeds", "1", "--set", f"environments.code.arrivals={trace}")
    assert done.exit_code == 0, done.output
    assert "warning: environments.code.arrivals: " in done.stderr


def test_without_the_extra_it_says_what_to_install(file, monkeypatch):
    def find(name: str) -> ModuleSpec | None:
        return None if name == "datasketches" else util.find_spec(name)

    monkeypatch.setattr(experiments_extra, "find_spec", find)
    done = simulate(file)
    assert done.exit_code == cli.REFUSED
    assert done.stderr.strip() == (
        "error: experiments need datasketches: pip install 'orchestrator-serve[experiments]'"
    )


def test_the_other_commands_do_not_load_what_only_experiments_need():
    code = (
        "import sys, orchestrator.cli; "
        "print([name for name in ('numpy', 'matplotlib', 'datasketches') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
