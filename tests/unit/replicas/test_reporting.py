from __future__ import annotations

import asyncio

import pytest

from orchestrator.lifecycle.replica import ReportReply, Stage
from replicas import deployment
from tests.unit.replicas import models


async def test_a_ready_replica_sends_heartbeats_with_its_load(start, reporter, http, monkeypatch):
    monkeypatch.setattr("replicas.reporting.HEARTBEAT_SECONDS", 0.01)
    replica = await start("AsyncBlocked", slots=2)
    request = asyncio.create_task(http.post(f"{replica.address}/predict", json=1))
    await models.until_entered()
    await reporter.until(lambda: reporter.reports[-1].in_flight == 1)
    models.release()
    (await request).release()
    await reporter.until(lambda: reporter.reports[-1].in_flight == 0)
    assert reporter.reports[-1].stage is Stage.READY


async def test_what_a_restarting_queue_missed_is_told_when_it_is_back(start, reporter):
    reporter.failure = ConnectionError("the queue is restarting")
    replica = await start("AsyncEcho")
    await reporter.until(lambda: reporter.calls >= 3)
    assert reporter.reports == []
    reporter.failure = None
    ready = await reporter.until_stage(Stage.READY)
    assert ready.address == replica.address
    assert set(ready.stages) == {Stage.STARTING, Stage.LOADING, Stage.WARMING}


async def test_draining_waits_for_permits_and_for_what_runs(start, reporter, http):
    replica = await start("AsyncBlocked")
    request = asyncio.create_task(http.post(f"{replica.address}/predict", json=1))
    await models.until_entered()
    reporter.reply = ReportReply(permits_out=1)
    closing = asyncio.create_task(replica.close())
    await reporter.until_stage(Stage.DRAINING)

    reporter.reply = ReportReply(permits_out=0)
    drained = len(reporter.reports)
    await reporter.until(lambda: len(reporter.reports) > drained + 2)
    assert not closing.done()

    models.release()
    assert (await request).status == 200
    await closing
    assert reporter.stages[-2:] == [Stage.DRAINING, Stage.STOPPED]


async def test_draining_ends_at_its_time_limit(start, reporter):
    replica = await start("AsyncEcho", drain_timeout_seconds=0.2)
    reporter.reply = ReportReply(permits_out=1)
    await replica.close()
    assert reporter.stages[-1] is Stage.STOPPED


async def test_draining_does_not_wait_for_a_queue_that_is_gone(start, reporter, monkeypatch):
    monkeypatch.setattr(deployment, "QUEUE_GONE_SECONDS", 0.1)
    replica = await start("AsyncEcho")
    await reporter.until_stage(Stage.READY)
    reporter.failure = ConnectionError("deleted")
    async with asyncio.timeout(10):
        await replica.close()


async def test_serve_ends_a_replica_by_its_del(start, reporter):
    replica = await start("AsyncEcho")
    ending = replica.__del__()
    assert ending is not None
    await ending
    assert reporter.stages[-1] is Stage.STOPPED
    assert replica.__del__() is None


async def test_going_back_a_stage_is_refused(start, reporter):
    replica = await start("AsyncEcho")
    assert replica._reports is not None
    with pytest.raises(ValueError, match="does not go from READY to LOADING"):
        replica._reports.enter(Stage.LOADING)
