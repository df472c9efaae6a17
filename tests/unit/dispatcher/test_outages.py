"""Dispatchers that end, that are cut off, and that come back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.dispatcher import lane as lane_module
from orchestrator.dispatcher.dispatcher import Stuck
from orchestrator.lifecycle.async_request import AsyncState, AttemptRules
from tests.unit.router.harness import respond
from tests.unit.store.world import until

if TYPE_CHECKING:
    from orchestrator.store.records import Record
    from tests.unit.dispatcher.conftest import Rig


def is_queued(record: Record) -> bool:
    return record.state is AsyncState.QUEUED


async def test_a_run_goes_on_while_the_store_is_away_and_is_reported_when_it_is_back(rig: Rig):
    wire = await rig.wire("w1")
    rig.replica.gate.clear()
    rig.dispatch(wire.url)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    await wire.cut()
    rig.replica.gate.set()
    await rig.slots.until(lambda: not rig.slots.out)
    record = await rig.store.requests.get(request_id)
    assert record is not None
    assert record.state is AsyncState.IN_PROGRESS
    await wire.mend()
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 1
    assert len(rig.replica.seen) == 1


async def test_after_an_outage_longer_than_the_lease_its_own_runs_are_not_put_back(rig: Rig):
    wire = await rig.wire("w1")
    rig.replica.gate.clear()
    rig.dispatch(wire.url, lease_s=0.6)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    await wire.cut()
    await rig.lease(request_id, lambda end, now: now > end)  # and nobody has looked
    await wire.mend()
    following = await rig.submit({"n": 2})
    rig.slots.add(rig.address, name="r2")
    await rig.replica.until(lambda: len(rig.replica.seen) == 2)
    rig.replica.gate.set()
    for each in (request_id, following):
        record = await rig.ended(each)
        assert record.state is AsyncState.SUCCEEDED
        assert record.attempts == 1
    assert len(rig.replica.seen) == 2


async def test_everything_resumes_when_the_server_was_killed_and_started_again(rig: Rig):
    rig.replica.gate.clear()
    rig.slots.add(rig.address, 2)
    rig.dispatch()
    running = await rig.submit({"n": 1})
    await rig.replica.until(lambda: rig.replica.running == 1)
    rig.server.kill()
    rig.replica.gate.set()
    await rig.slots.until(lambda: not rig.slots.out)
    await asyncio.to_thread(rig.server.start)
    following = await rig.submit({"n": 2})
    for each in (running, following):
        record = await rig.ended(each)
        assert record.state is AsyncState.SUCCEEDED
        assert record.attempts == 1


async def test_while_the_store_is_away_nothing_stands_in_line(rig: Rig):
    wire = await rig.wire("w1")
    rig.slots.free.clear()
    rig.dispatch(wire.url)
    request_id = await rig.submit()
    await rig.slots.until(lambda: len(rig.slots.line) == 1)
    await wire.cut()
    await rig.slots.until(lambda: not rig.slots.line)
    await wire.mend()
    await rig.slots.until(lambda: len(rig.slots.line) == 1)
    rig.slots.add(rig.address)
    assert (await rig.ended(request_id)).state is AsyncState.SUCCEEDED


async def test_another_dispatcher_takes_over_and_the_first_ones_result_is_dropped(rig: Rig):
    wire = await rig.wire("w1")

    async def say_number(body: Any, number: int, send: Any) -> None:
        await respond(send, body=b"%d" % number)

    rig.replica.answer = say_number
    rig.replica.gate.clear()
    rig.slots.add(rig.address, 2)
    rig.dispatch(wire.url, lease_s=0.5)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    await wire.cut()
    rig.dispatch(lease_s=0.5)
    await rig.replica.until(lambda: rig.replica.running == 2)
    # The first one, cut off, still runs it: when it hears of its loss, it hangs up.
    await wire.mend()
    await rig.replica.until(lambda: len(rig.replica.gone) == 1)
    rig.replica.gate.set()
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 2
    assert record.result is not None
    assert record.result.data == b"2"


async def test_a_result_that_comes_too_late_changes_nothing_and_its_file_is_removed(
    rig: Rig, tmp_path
):
    wire = await rig.wire("w1")

    async def say_number(body: Any, number: int, send: Any) -> None:
        await respond(send, body=b"%d" % number)

    rig.replica.answer = say_number
    results = {"url": tmp_path.as_uri(), "inline_bytes": 0}
    rig.replica.gate.clear()
    rig.slots.add(rig.address, 2)
    rig.dispatch(wire.url, lease_s=0.5, results=results)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    await wire.cut()
    rig.dispatch(lease_s=0.5, results=results)
    await rig.replica.until(lambda: rig.replica.running == 2)
    rig.replica.gate.set()
    record = await rig.ended(request_id)
    await rig.slots.until(lambda: not rig.slots.out)
    await wire.mend()
    await rig.dispatchers[0].close(10.0)  # it has reported all that it had to
    again = await rig.store.requests.get(request_id)
    assert again == record
    assert record.result is not None
    assert record.result.reference is not None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / record.result.reference]
    assert files[0].read_bytes() == b"2"


async def test_leases_are_renewed_for_as_long_as_a_run_takes(rig: Rig):
    rig.replica.gate.clear()
    rig.dispatch(lease_s=1.5)
    rig.dispatch(lease_s=1.5)  # would take it over
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    began, _ = rig.server.lease(request_id)
    await rig.lease(request_id, lambda end, _: end > began + 3.0)  # two leases more
    rig.replica.gate.set()
    assert (await rig.ended(request_id)).attempts == 1
    assert len(rig.replica.seen) == 1


async def test_a_dispatcher_that_ends_lets_its_runs_end(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch()
    running = await rig.submit({"n": 1})
    await rig.replica.until(lambda: rig.replica.running == 1)
    waiting = await rig.submit({"n": 2})
    closing = asyncio.create_task(dispatcher.close(10.0))
    await rig.slots.until(lambda: not rig.slots.line)
    rig.replica.gate.set()
    await closing
    assert (await rig.ended(running)).state is AsyncState.SUCCEEDED
    await rig.until(waiting, is_queued)
    assert len(rig.replica.seen) == 1


async def test_a_dispatcher_that_ends_puts_back_what_does_not_end_in_time(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch()
    request_id = await rig.submit(rules=AttemptRules(max_attempts=1))
    await rig.replica.until(lambda: rig.replica.running == 1)
    await dispatcher.close(0.05)
    await rig.replica.until(lambda: len(rig.replica.gone) == 1)
    record = await rig.until(request_id, is_queued)
    assert record.attempts == 0, "that was no attempt"
    rig.replica.gate.set()
    rig.dispatch()
    assert (await rig.ended(request_id)).state is AsyncState.SUCCEEDED


async def test_leases_are_renewed_while_a_dispatcher_ends(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch(lease_s=1.5)
    rig.dispatch(lease_s=1.5)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    closing = asyncio.create_task(dispatcher.close(10.0))
    began, _ = rig.server.lease(request_id)
    await rig.lease(request_id, lambda end, _: end > began + 3.0)  # two leases more
    rig.replica.gate.set()
    await closing
    assert (await rig.ended(request_id)).attempts == 1


async def test_other_settings_are_gone_by_without_dropping_what_runs(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch(asynchronous={"run_s": 60.0})
    running = await rig.submit({"n": 1})
    await rig.replica.until(lambda: rig.replica.running == 1)
    dispatcher.configure(rig.table(asynchronous={"run_s": 5.0}, queue={"keep_s": 2.0}))
    rig.replica.gate.set()
    assert (await rig.ended(running)).state is AsyncState.SUCCEEDED
    await rig.ended(await rig.submit({"n": 2}))
    assert [headers[b"request-timeout-ms"] for headers in rig.replica.headers] == [
        b"60000",
        b"5000",
    ]
    assert rig.slots.holders[0].settings == {"keep_s": 2.0, "policy": "queue_on_full"}
    assert len(rig.slots.holders) == 1


async def test_an_environment_that_leaves_the_table_lets_its_runs_end(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch()
    running = await rig.submit({"n": 1})
    await rig.replica.until(lambda: rig.replica.running == 1)
    dispatcher.configure({**rig.table(), "models": {}})
    waiting = await rig.submit({"n": 2})
    rig.replica.gate.set()
    assert (await rig.ended(running)).state is AsyncState.SUCCEEDED
    await rig.until(waiting, is_queued)
    dispatcher.configure(rig.table())
    assert (await rig.ended(waiting)).state is AsyncState.SUCCEEDED


async def test_another_application_gets_another_permit_client(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch()
    running = await rig.submit({"n": 1})
    await rig.replica.until(lambda: rig.replica.running == 1)
    dispatcher.configure(rig.table(application="echo.other"))
    rig.replica.gate.set()
    assert (await rig.ended(running)).state is AsyncState.SUCCEEDED
    assert (await rig.ended(await rig.submit({"n": 2}))).state is AsyncState.SUCCEEDED
    assert [holder.closed for holder in rig.slots.holders] == [True, False]


async def test_without_a_store_there_is_nothing_to_do(rig: Rig):
    dispatcher = rig.dispatch()
    dispatcher.configure({**rig.table(), "store": None})
    dispatcher.check()
    request_id = await rig.submit()
    dispatcher.configure(rig.table())
    assert (await rig.ended(request_id)).state is AsyncState.SUCCEEDED


async def test_a_table_that_is_not_valid_changes_nothing(rig: Rig):
    dispatcher = rig.dispatch()
    with pytest.raises(ValueError, match="NOT_THERE"):
        dispatcher.configure({**rig.table(), "store": "${NOT_THERE}"})
    assert (await rig.ended(await rig.submit())).state is AsyncState.SUCCEEDED


async def test_a_store_that_is_away_is_no_reason_to_be_replaced(rig: Rig):
    wire = await rig.wire("w1")
    rig.replica.gate.clear()
    dispatcher = rig.dispatch(wire.url, lease_s=0.6)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    await wire.cut()
    (lane,) = dispatcher._lanes.values()

    async def away_since() -> float | None:
        return lane._away_since

    await until(away_since, lambda since: since is not None)
    dispatcher.check()
    await wire.mend()
    rig.replica.gate.set()
    assert (await rig.ended(request_id)).state is AsyncState.SUCCEEDED


async def test_a_dispatcher_that_ends_while_the_store_is_away_leaves_its_lease_to_lapse(
    rig: Rig, monkeypatch
):
    monkeypatch.setattr(lane_module, "LAST_WORDS_S", 0.1)
    wire = await rig.wire("w1")
    rig.replica.gate.clear()
    dispatcher = rig.dispatch(wire.url, lease_s=0.6)
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    await wire.cut()
    async with asyncio.timeout(5):
        await dispatcher.close(0.05)
    rig.replica.gate.set()
    rig.dispatch()
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 2


async def test_a_lane_that_does_not_come_round_is_a_reason(rig: Rig, monkeypatch):
    dispatcher = rig.dispatch()
    dispatcher.check()
    monkeypatch.setattr(lane_module, "STUCK_S", -1.0)
    with pytest.raises(Stuck, match="the lane of echo/production is stuck"):
        dispatcher.check()


async def test_a_lane_that_has_left_the_table_gets_no_more_time_than_others_in_the_end(rig: Rig):
    rig.replica.gate.clear()
    dispatcher = rig.dispatch()
    request_id = await rig.submit()
    await rig.replica.until(lambda: rig.replica.running == 1)
    dispatcher.configure({**rig.table(), "models": {}})
    await dispatcher.close(0.05)
    await rig.until(request_id, is_queued)
