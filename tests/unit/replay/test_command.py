"""`orchestrator replay`: what it prints, writes and refuses."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from orchestrator import cli
from orchestrator.replay import validity
from orchestrator.reports import report as reports
from tests.unit.replay.conftest import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.replay.conftest import Cluster

EXPERIMENT = """\
name: a-moment
description: A few requests.
seeds: [7]
environments:
  echo:
    arrivals: {step: {steps: [{rate: 20, seconds: 0.2}], cv: 0}}
    service: {fixed: 0.01}
    concurrency: 4
"""


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run beside others: requests may be sent late."""
    monkeypatch.setattr(validity, "LAG_S", 60.0)
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", KEY)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


async def replay(*arguments: object) -> Result:
    """The command beside the test's event loop."""
    given = ["replay", *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, cli.app, given)


async def test_a_replay_prints_a_row_for_each_environment_and_writes_a_report(
    cluster: Cluster, experiment: Path, tmp_path: Path
):
    cluster.start_replica()
    out = tmp_path / "live.json"
    done = await replay(experiment, "--target", cluster.url, "--out", out)
    assert done.exit_code == 0, done.output
    header, row, lag = done.stdout.splitlines()
    assert header.startswith("setting")
    assert row.split()[:2] == ["a-moment", "echo"]
    assert lag.startswith("4 requests in ")
    [run] = reports.load(out).runs
    assert (run.kind, run.seed, run.valid) == (reports.LIVE, 7, True)
    assert run.whole.outcomes == {"answered": 4}


async def test_one_that_is_not_valid_says_why_and_fails(
    cluster: Cluster, experiment: Path, monkeypatch: pytest.MonkeyPatch
):
    cluster.start_replica()
    monkeypatch.setattr(validity, "LAG_S", 0.0)
    monkeypatch.setattr(validity, "LAG_SHARE", 0.0)
    done = await replay(experiment, "--target", cluster.url)
    assert done.exit_code == cli.FAILED
    assert "not valid: 1 % of the requests were sent more than" in done.stderr


async def test_what_the_cluster_does_otherwise_is_said_first(cluster: Cluster, experiment: Path):
    cluster.start_replica()
    setting = "environments.*.queue.max_requests=5"
    done = await replay(experiment, "--target", cluster.url, "--set", setting)
    assert "note: echo/production: queue.max_requests is 10000 there and 5 here" in done.stderr


async def test_a_key_out_of_another_variable(
    cluster: Cluster, experiment: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTHER_KEY", "all.wrong")
    done = await replay(experiment, "--target", cluster.url, "--key-env", "OTHER_KEY")
    assert done.exit_code == cli.REFUSED
    assert "takes no key that is in OTHER_KEY" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--environment", "ecco"], 'no environment "ecco"'),
        (["--point", "x"], 'has no point "x"; there are "a-moment"'),
        (["--set", "environments.*.concurrenzy=2"], "concurrenzy"),
        (["--out", "/nowhere/at/all.json"], "must be a file in a folder that there is"),
    ],
)
async def test_what_is_not_there_is_refused(experiment: Path, arguments: list[str], words: str):
    done = await replay(experiment, "--target", "http://127.0.0.1:1", *arguments)
    assert done.exit_code == cli.REFUSED
    assert words in done.stderr


async def test_a_cluster_that_is_not_there_is_refused(experiment: Path):
    done = await replay(experiment, "--target", "http://127.0.0.1:1")
    assert done.exit_code == cli.REFUSED
    assert "cannot reach http://127.0.0.1:1" in done.stderr


@pytest.fixture
def two_points(experiment: Path) -> Path:
    sweep = "sweep: {environments.*.autoscaling.max_replica: [1, 2]}\n"
    experiment.write_text(experiment.read_text() + sweep)
    return experiment


async def test_of_several_points_one_has_to_be_chosen(two_points: Path):
    done = await replay(two_points, "--target", "http://127.0.0.1:1")
    assert done.exit_code == cli.REFUSED
    assert "tries 2 settings, and a cluster has one: choose it with --point" in done.stderr


async def test_ctrl_c_leaves_a_report_that_says_so(
    cluster: Cluster, experiment: Path, tmp_path: Path
):
    out = tmp_path / "live.json"
    arguments = ["replay", experiment, "--target", cluster.url, "--out", out]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator.cli", *map(str, arguments)),
        env={**os.environ, "ORCHESTRATOR_API_KEY": KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    # There is no replica: all four stand in line, for as long as it goes on.
    await cluster.line.until(lambda: cluster.line.waiters == 4)
    child.send_signal(signal.SIGINT)
    _, errors = await child.communicate()
    assert child.returncode == cli.FAILED, errors.decode()
    assert "it was stopped after 4 requests, 4 of which had not ended" in errors.decode()
    [run] = reports.load(out).runs
    assert (run.valid, run.whole.arrived) == (False, 4)
