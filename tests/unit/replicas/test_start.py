from __future__ import annotations

import asyncio

import pytest

from orchestrator.lifecycle.replica import ReportReply, Stage
from replicas.deployment import Replica
from replicas.errors import StartFailed
from tests.unit.replicas import models
from tests.unit.replicas.conftest import MemoryReporter, StartReplica, spec_of


async def test_a_start_is_told_stage_by_stage(start: StartReplica, reporter: MemoryReporter):
    replica = await start("Loads", arguments={"how": "fine"}, slots=3)
    ready = await reporter.until_stage(Stage.READY)
    assert reporter.stages == [Stage.STARTING, Stage.LOADING, Stage.WARMING, Stage.READY]
    assert (ready.slots, ready.deployment, ready.address) == (3, "d", replica.address)
    assert set(ready.stages) == {Stage.STARTING, Stage.LOADING, Stage.WARMING}
    assert ready.age_s >= sum(ready.stages.values())
    assert all(report.address is None for report in reporter.reports if report.stage != "READY")
    assert len({report.replica_id for report in reporter.reports}) == 1


async def test_async_load_runs_in_the_loop_of_predict(start, http):
    replica = await start("LoadsAsync", arguments={"how": "fine"})
    async with http.post(f"{replica.address}/predict", json=1) as answer:
        assert await answer.json() == {"same_loop": True}


@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        ("no_colon", None),
        ("nowhere.to_be:Found", "there is no module 'nowhere'"),
        ("tests.unit.replicas.nowhere:Found", "there is no module 'tests.unit.replicas.nowhere'"),
        (
            "tests.unit.replicas.broken_module:Model",
            "importing tests.unit.replicas.broken_module raised ModuleNotFoundError: No module",
        ),
        ("Missing", "module 'tests.unit.replicas.models' has no attribute 'Missing'"),
        ("NOT_A_CLASS", "tests.unit.replicas.models:NOT_A_CLASS is not a class but a int"),
        ("NoPredict", "tests.unit.replicas.models:NoPredict has no method `predict`"),
        ("Loads", "Loads(...) raised TypeError: Loads.__init__() missing 1 required"),
        ("AppDoesNotStart", "the start-up of the model's ASGI application failed"),
    ],
)
async def test_a_model_that_cannot_be_made_says_why(start, reporter, runner, reason):
    backoff = {"backoff_max_seconds": 0}
    if reason is None:
        runner = {"type": "python", "class": runner}
        reason = "the import path 'no_colon' is not of the form module:Class"
    with pytest.raises(StartFailed) as raised:
        await start(runner, startup=backoff)
    assert reason in raised.value.reason
    assert reporter.reports[-1].stage is Stage.FAILED
    assert reporter.reports[-1].reason == raised.value.reason


@pytest.mark.parametrize("model", ["Loads", "LoadsAsync"])
@pytest.mark.parametrize(
    ("how", "said"),
    [("raise", "OSError: weights.bin is truncated"), ("exit", "SystemExit: no GPU")],
)
async def test_a_load_that_raises_is_reported_with_its_traceback(start, reporter, model, how, said):
    with pytest.raises(StartFailed):
        await start(model, arguments={"how": how}, startup={"backoff_max_seconds": 0})
    failed = reporter.reports[-1]
    assert failed.reason == f"tests.unit.replicas.models:{model}.load() raised {said}"
    assert failed.log_tail[-1] == said
    assert any("in load" in line for line in failed.log_tail)
    assert len(failed.log_tail) <= 50


async def test_the_model_of_a_failed_lifespan_says_why(start, reporter):
    with pytest.raises(StartFailed):
        await start("AppDoesNotStart", startup={"backoff_max_seconds": 0})
    assert reporter.reports[-1].log_tail[-1] == "RuntimeError: no licence"


async def test_a_start_that_takes_too_long_says_where_it_is(start, reporter):
    startup = {"timeout_seconds": 0.2, "backoff_max_seconds": 0}
    with pytest.raises(StartFailed, match=r"not ready within 0\.2 s .*still LOADING"):
        await start("Loads", arguments={"how": "block"}, startup=startup)
    assert any("resume.wait(20)" in line for line in reporter.reports[-1].log_tail)


async def test_a_failed_start_waits_as_long_as_the_queue_says(start, reporter, monkeypatch):
    waited: list[float] = []
    sleep = asyncio.sleep

    async def note(delay: float) -> None:
        waited.append(delay)
        await sleep(0)

    monkeypatch.setattr("replicas.deployment.asyncio.sleep", note)
    reporter.reply = ReportReply(retry_in_s=7.5)
    with pytest.raises(StartFailed):
        await start("Missing", startup={"backoff_max_seconds": 30})
    assert 7.5 in waited


async def test_a_missing_variable_fails_the_start_by_name(start, reporter, monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    variables = {"TOKEN": "${NOT_SET_ANYWHERE}"}
    with pytest.raises(StartFailed, match="NOT_SET_ANYWHERE, which is not set"):
        await start(
            "AsyncEcho", environment_variables=variables, startup={"backoff_max_seconds": 0}
        )


async def test_a_replica_may_be_ended_while_it_loads(reporter):
    replica = Replica.__new__(Replica)
    spec = spec_of("Loads", arguments={"how": "block"})
    starting = asyncio.create_task(replica.__init__(spec, reporter))  # type: ignore[misc] # as Serve does
    await models.until_entered()
    await replica.close()
    with pytest.raises(StartFailed, match="stopped while it was starting"):
        await starting
    assert reporter.stages[-1] is Stage.STOPPED
    assert replica.__del__() is None
    models.release()


async def test_health_checks_that_fail_in_a_row_fail_the_replica(start, reporter):
    health = {"interval_seconds": 0.02, "failures": 3}
    replica = await start("HealthAsked", health=health)
    await replica.check_health()
    models.healthy.clear()
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason == "3 health checks in a row failed: is_healthy() returned False"
    await replica.close()
    with pytest.raises(Exception, match="3 health checks in a row failed"):
        await replica.check_health()
    assert reporter.stages[-1] is Stage.FAILED


async def test_health_is_also_a_path(start, http):
    replica = await start("HealthAskedAsync")
    async with http.get(f"{replica.address}/health") as answer:
        assert answer.status == 200
    models.healthy.clear()
    async with http.get(f"{replica.address}/health") as answer:
        assert answer.status == 503
        assert "CUDA error" in (await answer.json())["error"]
