"""The commands against a real cluster, each as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cluster_life import ROOT
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

QUICKSTART = (ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8")


class Shell:
    """Runs `orchestrator` with a state directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "cluster.yaml"
        self.port = free_port()
        self.write(QUICKSTART)
        self._environment = os.environ | {
            "ORCHESTRATOR_STATE_DIR": str(directory / "state"),
            "COLUMNS": "120",
        }

    def write(self, config: str) -> None:
        config = config.replace("cluster:\n", f"cluster:\n  port: {self.port}\n")
        self.file.write_text(config, encoding="utf-8")

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *arguments],
            env=self._environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def row(self, environment: str) -> list[str]:
        """What `status` says about an environment, word by word."""
        lines = self("status").stdout.splitlines()
        return next(line.split() for line in lines if line.startswith(environment))


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    ended = shell("down")
    assert ended.returncode == 0, ended.stderr


def test_from_a_file_to_an_answer_and_back_to_nothing(orchestrator: Shell) -> None:
    up = orchestrator("up", str(orchestrator.file), "--detach")
    assert up.returncode == 0, up.stderr
    assert f"quickstart is ready at http://127.0.0.1:{orchestrator.port}" in up.stdout
    assert orchestrator.row("echo/production")[1:4] == ["SCALED_TO_ZERO", "v1", "0/0"]

    cold = orchestrator("call", "echo", "--data", '{"hello": "world"}')
    assert json.loads(cold.stdout) == {"hello": "world"}
    assert "cold start" in cold.stderr
    warm = orchestrator("call", "echo", "--data", '{"hello": "again"}')
    assert json.loads(warm.stdout) == {"hello": "again"}
    assert "cold start" not in warm.stderr
    assert orchestrator.row("echo/production")[1:4] == ["ACTIVE", "v1", "1/1"]

    later = orchestrator("call", "echo", "--data", '{"hello": "later"}', "--async", "--wait")
    assert json.loads(later.stdout) == {"hello": "later"}
    assert "SUCCEEDED" in later.stderr
    request_id = later.stderr.splitlines()[0]
    assert request_id in orchestrator("requests", "list").stdout

    assert orchestrator("wake", "llm").stdout == "llm/production: waking up\n"
    stream = orchestrator("call", "llm", "--data", '{"prompt": "hi", "stream": true}', "--stream")
    assert stream.stdout.rstrip().endswith("data: [DONE]")
    assert "first chunk after" in stream.stderr

    unknown = orchestrator("call", "absent")
    assert unknown.returncode == 1
    assert "404" in unknown.stderr
    assert "echo, llm, worker" in unknown.stderr

    orchestrator.write(QUICKSTART.replace("max_replica: 1\n", "max_replica: 2\n"))
    deployed = orchestrator("deploy", str(orchestrator.file))
    assert deployed.returncode == 0, deployed.stderr
    again = orchestrator("call", "echo", "--data", '{"hello": "after"}')
    assert json.loads(again.stdout) == {"hello": "after"}
    assert "cold start" not in again.stderr, "a change of autoscaling restarted a replica"

    down = orchestrator("down")
    assert (down.returncode, down.stdout) == (0, "quickstart: stopped\n")
    assert orchestrator("down").stdout == "nothing is running\n"


def test_the_tour_shows_every_step_and_leaves_nothing(orchestrator: Shell) -> None:
    tour = orchestrator("demo", str(orchestrator.file))
    assert tour.returncode == 0, tour.stdout + tour.stderr
    for step in (
        "a request to a sleeping model",
        "a stream, chunk by chunk",
        "40 requests at once",
        "kill -9 of a replica",
        "back to zero",
        "handed over to a sleeping model; kill -9 of what runs it",
        "both signatures fit",
        "SUCCEEDED in attempt 2, reported 1 time",
        "the dead letter, the replay",
        "0 dead letters left",
        "0 left",
        "the whole tour took",
    ):
        assert step in tour.stdout
    assert orchestrator("down").stdout == "nothing is running\n"
