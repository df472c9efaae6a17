from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from orchestrator.lifecycle.replica import Stage
from replicas.errors import StartFailed, Unhealthy
from replicas.runners.command import CommandRunner
from tests.unit.replicas.processes import has_ended

if TYPE_CHECKING:
    from replicas.deployment import Replica

SERVER = str(Path(__file__).with_name("small_server.py"))
NO_WAIT = {"backoff_max_seconds": 0}


def command(*arguments: str, **fields: Any) -> dict[str, Any]:
    program = [sys.executable, "-I", "-S", SERVER, "{port}", *arguments]
    return {"type": "command", "command": program, **fields}


def shell(script: str) -> dict[str, Any]:
    return {"type": "command", "command": ["/bin/sh", "-c", script]}


def guardian_of(replica: Replica) -> int:
    assert isinstance(replica._runner, CommandRunner)
    assert replica._runner.child is not None
    return replica._runner.child.guardian_pid


async def test_any_http_server_becomes_a_replica(start, reporter, http, tmp_path):
    replica = await start(command("--json={port}{", "{host}", working_directory=str(tmp_path)))
    ready = await reporter.until_stage(Stage.READY)
    assert reporter.stages == [Stage.STARTING, Stage.LOADING, Stage.WARMING, Stage.READY]
    assert ready.in_flight is None
    port = ready.address.rpartition(":")[2]
    async with http.get(f"{replica.address}/anything") as answer:
        facts = await answer.json(content_type=None)
    assert facts["arguments"] == [port, f"--json={port}{{", "127.0.0.1"]
    assert facts["directory"] == str(tmp_path)
    await replica.close()
    assert await has_ended(facts["pid"])
    assert reporter.stages[-2:] == [Stage.DRAINING, Stage.STOPPED]


async def test_the_child_sees_the_assigned_gpus_and_the_declared_variables(
    start, http, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    monkeypatch.setenv("A_SECRET", "s3cret")
    variables = {"TOKEN": "Bearer ${A_SECRET}", "PLAIN": "x"}
    replica = await start(command(), environment_variables=variables)
    async with http.get(f"{replica.address}/") as answer:
        environment = (await answer.json(content_type=None))["environment"]
    assert environment["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert (environment["TOKEN"], environment["PLAIN"]) == ("Bearer s3cret", "x")
    assert "TOKEN" not in os.environ


@pytest.mark.parametrize(
    ("runner", "reason", "log_tail"),
    [
        (
            shell("echo loading; echo no such model >&2; exit 3"),
            "/bin/sh ended with exit status 3 before it was ready",
            ("loading", "no such model"),
        ),
        (shell("kill -9 $$"), "/bin/sh was killed by SIGKILL before it was ready", ()),
        (
            {"type": "command", "command": ["no-such-model-server", "{port}"]},
            "command not found, or not executable: no-such-model-server",
            (),
        ),
        (
            {"type": "command", "command": ["./serve"], "working_directory": "/no/such/place"},
            "the working directory /no/such/place does not exist",
            (),
        ),
    ],
)
async def test_a_command_that_does_not_start_says_why(start, reporter, runner, reason, log_tail):
    with pytest.raises(StartFailed):
        await start(runner, startup=NO_WAIT)
    failed = reporter.reports[-1]
    assert (failed.stage, failed.reason) == (Stage.FAILED, reason)
    assert failed.log_tail == log_tail


async def test_a_script_without_an_interpreter_is_named(start, reporter, tmp_path):
    script = tmp_path / "serve"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(StartFailed, match="not found, or not executable"):
        await start({"type": "command", "command": [str(script)]}, startup=NO_WAIT)
    assert "No such file or directory" in reporter.reports[-1].log_tail[-1]


@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        (command("--never-healthy"), r"still WARMING: GET http://\S+/health answered 503"),
        (shell("exec sleep 60"), r"still LOADING: nothing listens on 127\.0\.0\.1:\d+"),
    ],
)
async def test_a_command_that_does_not_get_ready_in_time_says_what_is_missing(
    start, reporter, runner, reason
):
    with pytest.raises(StartFailed, match=reason):
        await start(runner, startup={"timeout_seconds": 1.0, **NO_WAIT})
    assert reporter.stages[-1] is Stage.FAILED


async def test_a_ready_child_that_dies_fails_its_replica(start, reporter, http):
    replica = await start(command())
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get(f"{replica.address}/die")
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason == f"{sys.executable} ended with exit status 3"
    assert failed.log_tail == ("starting", "fatal: device lost")
    await replica.close()
    with pytest.raises(Unhealthy, match="exit status 3"):
        await replica.check_health()


async def test_a_ready_child_that_stops_answering_fails_its_replica(start, reporter, http):
    health = {"interval_seconds": 0.02, "timeout_seconds": 0.05, "failures": 2}
    replica = await start(command(), health=health)
    async with http.get(f"{replica.address}/") as answer:
        pid = (await answer.json(content_type=None))["pid"]
    os.kill(pid, signal.SIGSTOP)
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason == "2 health checks in a row failed: no answer within 0.05 s"
    assert await has_ended(pid)


async def test_what_a_child_left_running_ends_with_it(start, http):
    replica = await start(command("--fork"))
    async with http.get(f"{replica.address}/") as answer:
        facts = await answer.json(content_type=None)
    await replica.close()
    assert await has_ended(facts["pid"])
    assert await has_ended(facts["grandchild"])


async def test_a_child_that_ignores_sigterm_is_killed(start, http, monkeypatch):
    monkeypatch.setattr("replicas.deployment.CHILD_GRACE_SECONDS", 0.1)
    replica = await start(command("--ignore-sigterm", "--fork"))
    async with http.get(f"{replica.address}/") as answer:
        facts = await answer.json(content_type=None)
    await replica.close()
    assert await has_ended(facts["pid"])
    assert await has_ended(facts["grandchild"])


async def test_a_killed_guardian_takes_the_command_along(start, reporter, http):
    replica = await start(command())
    async with http.get(f"{replica.address}/") as answer:
        facts = await answer.json(content_type=None)
    os.kill(guardian_of(replica), signal.SIGKILL)
    assert await has_ended(facts["pid"])
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason is not None
    assert failed.reason.endswith("killed by SIGKILL")
